"""The action server `~/run_instruction`: one goal at a time follows an instruction until something ends it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from rclpy.action.server import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.task import Future
from rclpy.timer import Timer

from robovlms_ros.policy.decision import ACTING
from robovlms_ros.policy.instruction import InstructionError, clean_instruction
from robovlms_ros.policy.instruction_run import Ending, InstructionRun, Termination
from robovlms_ros.ros.clock import now_ns, steady_timer
from robovlms_ros.ros.interfaces import RunInstruction
from robovlms_ros.ros.lifecycle import ManagedNode
from robovlms_ros.ros.messages import to_duration, to_nanoseconds
from robovlms_ros.ros.vla_runtime import VLARuntime

PERIOD = 0.05
FEEDBACK_NS = 1_000_000_000
SUCCEEDED = (Termination.MAX_STEPS, Termination.MAX_DURATION)


class RunInstructionServer:
    """Serves goals on ``node``, from its creation on. ``runtime()`` is None while the node is not configured.

    The execute callback waits for a future, and a timer that exists only during a goal ends it: so the thread of
    the executor stays free, and nothing but that thread touches rclpy's goals.
    """

    def __init__(self, node: ManagedNode, runtime: Callable[[], VLARuntime | None]) -> None:
        self._node = node
        self._runtime = runtime
        self._goal: _Goal | None = None
        self._delivered = threading.Event()
        self._delivered.set()
        self.last = "none yet"
        """What became of the newest goal, in words."""
        self._server: Any = ActionServer(
            node,
            RunInstruction,
            # Before Kilted rclpy does not apply a remapping to the name of an action.
            node.resolve_service_name("~/run_instruction"),
            self._execute,
            goal_callback=self._on_goal,
            handle_accepted_callback=self._on_accepted,
            cancel_callback=self._on_cancel,
            callback_group=MutuallyExclusiveCallbackGroup(),
        )

    def settle(self, timeout: float) -> bool:
        """Wait, not in the executor's thread, until the result of an ended goal is sent; return whether it is."""
        return self._delivered.wait(timeout)

    def destroy(self) -> None:
        """Give the server back."""
        self._server.destroy()

    # -- from rclpy

    def _on_goal(self, goal: RunInstruction.Goal) -> GoalResponse:
        problem = self._problem(goal)
        if not problem:
            return GoalResponse.ACCEPT
        self.last = f"rejected: {problem}"
        self._node.get_logger().warning(f"goal {goal.instruction[:80]!r} rejected: {problem}")
        return GoalResponse.REJECT

    def _problem(self, goal: RunInstruction.Goal) -> str:
        """Why this goal cannot be followed now; empty where it can."""
        runtime = self._runtime()
        if self._goal is not None:
            return f"another goal is running, {self._goal.run.instruction[:80]!r}; cancel it first"
        if runtime is None or self._node.lifecycle_state != "active":
            return f"the node is {self._node.lifecycle_state}, not active"
        if not runtime.controller.settings.enabled:
            return "the node is disabled; call ~/set_enabled"
        if now_ns(self._node) <= 0:
            return "there is no time yet: use_sim_time is set, and nothing came on /clock"
        if goal.max_duration.sec < 0:
            return "max_duration is negative"
        try:
            text = clean_instruction(goal.instruction, runtime.policy.special_tokens)
        except InstructionError as error:
            return f"the instruction is refused: {error}"
        return "" if text else "the instruction is empty"

    def _on_accepted(self, handle: Any) -> None:
        runtime, goal = self._runtime(), handle.request
        assert runtime is not None, "what accepted the goal runs in the same turn of the same thread"
        run = InstructionRun(
            clean_instruction(goal.instruction, runtime.policy.special_tokens),
            now_ns(self._node),
            max_duration_ns=to_nanoseconds(goal.max_duration),
            max_steps=goal.max_steps,
            step_ns=runtime.controller.step_ns,
        )
        self._goal = _Goal(handle, run, runtime)
        self._delivered.clear()
        self.last = "running"
        self._node.get_logger().info(f"goal {run.instruction[:80]!r} accepted")
        with runtime.thread.condition:
            runtime.instruction.follow(run)
        self._goal.timer = steady_timer(self._node, PERIOD, self._tick)
        handle.execute()

    def _on_cancel(self, handle: Any) -> CancelResponse:
        goal = self._goal
        if goal is None or goal.handle != handle or not self._end(goal, Termination.CANCELED, "as requested"):
            return CancelResponse.REJECT  # it has ended already, and that is its result
        self._resolve(goal)
        return CancelResponse.ACCEPT

    async def _execute(self, handle: Any) -> RunInstruction.Result:
        goal = self._goal
        assert goal is not None
        assert goal.handle == handle
        ending: Ending = await goal.over
        self._goal = None
        self.last = f"{ending.reason.name}: {ending.message}"
        self._node.get_logger().info(f"goal ended after {ending.steps} actions: {self.last}")
        if ending.reason is Termination.CANCELED:
            handle.canceled()
        elif ending.reason in SUCCEEDED:
            handle.succeed()
        else:
            handle.abort()
        self._note_delivery()
        return RunInstruction.Result(
            termination_reason=int(ending.reason),
            message=ending.message,
            steps=ending.steps,
            elapsed=to_duration(ending.elapsed_ns),
        )

    # -- parts

    def _tick(self) -> None:
        """Look whether the goal is over, whoever ended it, and tell its client how it is getting on."""
        goal = self._goal
        if goal is None:
            return
        now = now_ns(self._node)
        with goal.runtime.thread.condition:
            ended_here = goal.run.ending is None and goal.run.observe(now)
            if ended_here:
                goal.runtime.instruction.unfollow(goal.run)
            hold = goal.runtime.activity()
        if goal.run.ending is None:
            goal.tell(hold.value if hold else ACTING, now)
        self._resolve(goal)

    def _end(self, goal: _Goal, reason: Termination, message: str) -> bool:
        with goal.runtime.thread.condition:
            first = goal.run.end(reason, message, now_ns(self._node))
            if first:
                goal.runtime.instruction.unfollow(goal.run)
        return first

    def _resolve(self, goal: _Goal) -> None:
        """Let the execute callback of a goal that has ended return its result."""
        if goal.run.ending is not None and goal.timer is not None:
            self._node.destroy_timer(goal.timer)
            goal.timer = None
            goal.over.set_result(goal.run.ending)

    def _note_delivery(self) -> None:
        """Set ``_delivered`` when the result that is returned next has been sent.

        rclpy sends it in a task that it creates then. A task created now runs just before or just after that one;
        what it creates itself runs after it.
        """
        executor = self._node.executor
        if executor is None:
            self._delivered.set()
        else:
            executor.create_task(lambda: executor.create_task(self._delivered.set))


class _Goal:
    """The goal that is running."""

    def __init__(self, handle: Any, run: InstructionRun, runtime: VLARuntime) -> None:
        self.handle = handle
        self.run = run
        self.runtime = runtime
        self.over: Any = Future()
        self.timer: Timer | None = None
        self._told: tuple[int, str] | None = None
        self._told_ns = 0

    def tell(self, activity: str, now: int) -> None:
        """Send feedback where there is news, and once a second."""
        news = (self.run.steps, activity)
        if news == self._told and 0 <= now - self._told_ns < FEEDBACK_NS:
            return
        self._told, self._told_ns = news, now
        feedback = RunInstruction.Feedback(
            step=self.run.steps,
            latency=to_duration(self.run.latency_ns),
            state=activity,
            elapsed=to_duration(self.run.elapsed_ns(now)),
        )
        self.handle.publish_feedback(feedback)
