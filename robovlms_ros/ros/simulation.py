"""One episode of the simulated robot after another, over topics: in lock step or in real time.

An episode begins with a new scene and its instruction, goes on with commands and images, and ends when its task is
done or its steps are used up. Then the policy is told to stop, and the next may begin.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node

from robovlms_ros.ros.arm_command_input import ArmCommandInput
from robovlms_ros.ros.clock import steady_timer
from robovlms_ros.ros.robot_publisher import RobotPublisher
from robovlms_ros.ros.sim_status import ABORTED, FAILED, RUNNING, SUCCEEDED, EpisodeState
from robovlms_ros.ros.task_giver import TaskGiver
from robovlms_ros.sim.command_input import LockStepInput, RealTimeInput
from robovlms_ros.sim.environment import MAX_STEPS, TabletopEnvironment
from robovlms_ros.sim.randomization import Randomization
from robovlms_ros.sim.robot import ArmCommand, RobotView, TabletopRobot
from robovlms_ros.sim.scene import STEP_DURATION
from robovlms_ros.sim.tasks import Task, draw_instruction, draw_task

CLOCK_PERIOD = 0.01
WATCH_PERIOD = 0.25
# In lock step: without an answer everything is shown again after so many seconds, which is idempotent; an episode
# whose first image nobody answers begins again; and the answer to the last image is waited for so long.
SHOW_AGAIN, BEGIN_AGAIN, LAST_ANSWER = 1.0, 10.0, 5.0


@dataclass(frozen=True)
class EpisodePlan:
    """What an episode is to be."""

    number: int
    seed: int
    task: Task
    instruction: str

    @classmethod
    def of(cls, number: int, seed: int, values: Mapping[str, Any]) -> EpisodePlan:
        """The episode of ``seed`` as the parameters say."""
        task = draw_task(values["family"], seed)
        return cls(number, seed, task, values["instruction"] or draw_instruction(task, values["wording"], seed))

    def state(self) -> EpisodeState:
        """Its state before it begins."""
        task = self.task
        most = MAX_STEPS[task.family]
        return EpisodeState(
            self.number, self.seed, task.family, task.target, task.base or "", self.instruction, most
        )


class Simulation:
    """Runs the episodes that are asked for. To be made and used in one thread, that of the executor.

    ``told()`` is called when ``episode`` has changed, ``ended()`` when the next may begin.
    """

    def __init__(
        self, node: Node, values: Mapping[str, Any], told: Callable[[], None], ended: Callable[[], None]
    ) -> None:
        self._thread = threading.get_ident()
        randomization = Randomization() if values["randomize"] else None
        self.robot = TabletopRobot(TabletopEnvironment("pick", values["image_size"], randomization=randomization))
        self.episode: EpisodeState | None = None
        self.problem = ""
        """Why it does not go on; empty where it does."""
        self._node, self._told, self._ended = node, told, ended
        self._plan: EpisodePlan | None = None
        self._next: EpisodePlan | None = None
        self._ending = False
        self._view: RobotView | None = None
        self._shown = self._began = time.perf_counter()
        self._publisher = RobotPublisher(node)
        self._giver = TaskGiver(node, values["goals"], self._on_lost)
        self._lock_step = LockStepInput() if values["mode"] == "lock_step" else None
        timeout_ns = round(values["command_timeout"] * 1e9)
        self._real_time = None if self._lock_step else RealTimeInput(timeout_ns)
        inputs = self._lock_step or self._real_time
        assert inputs is not None
        self.commands = ArmCommandInput(node, inputs, self._on_command, self._now_ns, time.perf_counter_ns)
        if self._lock_step:
            steady_timer(node, WATCH_PERIOD, self._watch)
        else:
            steady_timer(node, STEP_DURATION, self._pass_step)
            steady_timer(node, CLOCK_PERIOD, self._pass_time)

    @property
    def idle(self) -> bool:
        """Whether no episode is under way, not even its end."""
        return self._plan is None

    def begin(self, plan: EpisodePlan) -> None:
        """Begin an episode, when the one that is under way has ended, which happens now."""
        self._next = plan
        if self._plan is None:
            self._begin_next()
        elif not self._ending:
            if self.episode and not self.episode.over:
                self._change(ABORTED, "another one was asked for")
            self._end()

    def destroy(self) -> None:
        """Give everything back that is not the node's."""
        self._giver.destroy()
        # A context of OpenGL can be given back in its own thread alone; another's goes with the process.
        if threading.get_ident() == self._thread:
            self.robot.environment.close()

    # -- an episode

    def _begin_next(self) -> None:
        plan, self._next = self._next, None
        assert plan is not None
        self._plan, self._ending = plan, False
        self.episode = plan.state()
        self._view = self.robot.reset(plan.seed, plan.task, plan.instruction)
        self._publisher.publish_state(self._view)
        if self._real_time:
            self._publisher.publish_images(self._view)
        self._told()
        self._giver.give(plan.instruction, self._on_given)

    def _on_given(self) -> None:
        if self._ending or self._view is None:
            return
        self._began = time.perf_counter()
        self._change(RUNNING)
        if self._real_time:
            self._real_time.clear(time.perf_counter_ns())
        else:
            self._show()

    def _on_lost(self, why: str) -> None:
        """The policy has ended its part by itself."""
        if self._plan is not None and not self._ending:
            self._change(ABORTED, f"the policy stopped: {why}")
            self._end()

    def _step(self, command: ArmCommand) -> None:
        episode = self.episode
        assert episode is not None
        self._view = self.robot.step(command)
        episode.steps += 1
        if self.robot.finished:
            environment = self.robot.environment
            self._change(SUCCEEDED) if environment.succeeded else self._change(FAILED, "its steps are used up")
        else:
            self._told()

    def _end(self) -> None:
        """Let the policy stop; then the next may begin."""
        self._ending = True
        if self._lock_step:
            self._lock_step.expect(None)
        self._giver.take_back(self._on_taken_back)

    def _on_taken_back(self) -> None:
        self._plan, self._ending = None, False
        if self._next is not None:
            self._begin_next()
        else:
            self._ended()

    def _change(self, state: str, why: str = "") -> None:
        assert self.episode is not None
        self.episode.state, self.episode.why = state, why
        self._told()

    # -- in lock step

    def _show(self) -> None:
        """Show what is to be answered next."""
        assert self._view is not None
        assert self._lock_step is not None
        self._lock_step.expect(self._view.stamp_ns)
        self._shown = self._asked = time.perf_counter()
        self._publisher.publish_images(self._view)

    def _on_command(self, command: ArmCommand) -> None:
        """The image is answered. The last one is, too, so that the policy has none left for the next episode."""
        episode = self.episode
        assert episode is not None
        self.problem = ""
        if episode.over:
            self._end()
            return
        episode.newest_answer = time.perf_counter() - self._asked
        episode.answers.add(episode.newest_answer)
        self._step(command)
        assert self._view is not None
        self._publisher.publish_state(self._view)
        self._show()

    def _watch(self) -> None:
        """Help a message that got lost, and a node that came late."""
        now, view = time.perf_counter(), self._view
        if self._plan is None or view is None:
            self._publisher.publish_clock(self.robot.now_ns)  # for who waits for the first
            return
        if self._ending:
            return
        if self._giver.waiting:
            self.problem = "no policy has taken the instruction yet"
            self._publisher.publish_clock(view.stamp_ns)
        elif self.episode and self.episode.over and now - self._asked > LAST_ANSWER:
            self._end()
        elif now - self._asked > BEGIN_AGAIN and self.episode and self.episode.steps == 0:
            self._node.get_logger().warning(
                "nobody has answered the first image: the episode begins again. Does arm_bridge_node run, with "
                "lock_step true and the outputs twist (or pose) and trajectory?"
            )
            self._next = self._plan
            self._end()
        elif now - self._shown > SHOW_AGAIN:
            self.problem = f"no command has answered the image of {view.stamp_ns * 1e-9:.3f} s"
            self._shown = now
            self._publisher.publish_state(view)
            self._publisher.publish_images(view)

    # -- in real time

    def _pass_step(self) -> None:
        if self._view is None or self._real_time is None:
            return
        command, _ = self._real_time.take(time.perf_counter_ns())
        episode = self.episode
        if self._plan is not None and not self._ending and episode and episode.state == RUNNING:
            self._step(command)
            if episode.over:
                self._end()
        else:
            self._view = self.robot.wait()
        self._shown = time.perf_counter()
        self._publisher.publish_state(self._view)
        self._publisher.publish_images(self._view)

    def _pass_time(self) -> None:
        if self._view is not None:
            self._publisher.publish_clock(self._now_ns())

    def _now_ns(self) -> int:
        """Simulated time, which goes on between two steps and waits for a step that is late."""
        if self._view is None or self._lock_step:
            return self.robot.now_ns
        passed = min(max(time.perf_counter() - self._shown, 0.0), STEP_DURATION)
        return self._view.stamp_ns + round(passed * 1e9)
