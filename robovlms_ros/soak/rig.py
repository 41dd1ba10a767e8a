"""Everything that is done to the nodes under soak, told to the watcher as it is done."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from lifecycle_msgs.msg import Transition
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.action.client import ActionClient
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.parameter import Parameter
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from robovlms_ros.policy.null_policy import NullProfile
from robovlms_ros.ros import qos
from robovlms_ros.ros.interfaces import ActionHistory, RunInstruction, VLAAction
from robovlms_ros.ros.messages import to_duration
from robovlms_ros.ros.node_process import NodeProcessError
from robovlms_ros.soak.arm import Arm
from robovlms_ros.soak.camera import Camera
from robovlms_ros.soak.graph import Graph
from robovlms_ros.soak.image_faults import TAKEN
from robovlms_ros.soak.nodes import BRIDGE, INFERENCE_TIMEOUT, MAX_AGE, VLA, Nodes
from robovlms_ros.soak.watcher import SECOND, Watcher
from robovlms_ros.soak.witness import Witness

INSTRUCTIONS = ("pick up the red block", "open the drawer", "ارفع المكعب", "push the 🍎 to the left")


class SoakError(RuntimeError):
    """Something that was done to the nodes did not have the effect that it must have."""


@dataclass(frozen=True)
class RigSettings:
    """``slack``: seconds that anything but an inference may take; ``recovery``: until the node acts again.

    ``vla_command`` replaces the vla_node, to see that a broken one is found out.
    """

    rate: float = 30.0
    slack: float = 0.5
    recovery: float = 5.0
    vla_command: Sequence[str] = ()


class Rig:
    """Camera, instruction, an arm and all three nodes on a private domain, watched."""

    def __init__(self, graph: Graph, settings: RigSettings, seed: int) -> None:
        profile = NullProfile()
        self.graph = graph
        self.settings = settings
        self.random = Random(seed)
        self.watcher = Watcher(
            translation=profile.limits.translation,
            rotation=profile.limits.rotation,
            max_age_ns=round(MAX_AGE * SECOND),
            slack_ns=round(settings.slack * SECOND),
        )
        node = graph.node
        self.witness = Witness(node, self.watcher)
        self._latched = self._followed = self._told = ""
        self._speaker = node.create_publisher(String, "instruction", qos.latched())
        quiet = PublisherEventCallbacks(use_default_callbacks=False)  # one of the subscriptions cannot hear it
        self._plain_speaker = node.create_publisher(String, "instruction", qos.volatile(), event_callbacks=quiet)
        self.histories = node.create_publisher(ActionHistory, "action_history", qos.actions())
        self.hostile_actions = node.create_publisher(VLAAction, "action", qos.actions())
        self.camera = Camera(node, "image", settings.rate)
        self.camera.on_image = self._on_image
        self.arm = Arm(node, settings.slack, lambda text: self.fail("arm", text))
        self.nodes = Nodes(graph, settings.vla_command)
        self._goals: Any = graph.between(lambda: ActionClient(node, RunInstruction, f"{VLA}/run_instruction"))

    def begin(self) -> None:
        """Wait for the nodes, show images and give an instruction; return when they act."""
        self.graph.wait_until_active(VLA)
        self.graph.wait_for(lambda: self.camera.listeners, "nobody listens to the camera")
        self.instruct()
        # Frames that need a conversion make OpenCV start its threads, which stay.
        self.camera.spoil = TAKEN["BGR"](self.random)
        self.camera.start()
        self.wait_for(lambda: self.watcher.actions > 5, "actions", 10.0)
        self.camera.spoil = None
        self.wait_for(lambda: self.arm.commands, "commands for the arm", 10.0)

    def end(self) -> float:
        """End the nodes as an operator would; return the seconds that the vla_node took."""
        self.camera.stop()
        seconds, problems = self.nodes.end()
        for problem in problems:
            self.fail("shutdown", problem)
        return seconds

    # -- what is done to the nodes

    def instruct(self, text: str = "", latched: bool = True, followed: bool = True) -> None:
        """Publish ``text``, by default another good instruction; ``followed``: whether it is one."""
        text = text or self._another_instruction()
        good = text if followed else ""
        self._told = text
        if latched:
            self._latched = good
        self._follow(good)
        (self._speaker if latched else self._plain_speaker).publish(String(data=text))

    def reset(self) -> None:
        """Call ~/reset."""
        answer = self.graph.call(Trigger, f"{VLA}/reset", Trigger.Request())
        number = re.search(r"episode (\d+)", answer.message)
        if not answer.success or not number:
            raise SoakError(f"reset answered {answer.message!r}")
        with self.witness.telling() as watcher:
            watcher.new_episode(int(number.group(1)), time.time_ns())

    def enable(self, enabled: bool) -> None:
        """Call ~/set_enabled."""
        if enabled:
            self.resume()
        answer = self.graph.call(SetBool, f"{VLA}/set_enabled", SetBool.Request(data=enabled))
        if not answer.success:
            raise SoakError(f"set_enabled answered {answer.message!r}")
        if not enabled:
            self.hush("set_enabled false")

    def activate(self, timeout: float = 1.0) -> None:
        """Activate; again and again, because an inference that hangs must end first."""
        self.resume()
        end = time.monotonic() + timeout + self.settings.slack
        while not self.graph.asks_for(Transition.TRANSITION_ACTIVATE, VLA):
            if time.monotonic() > end:
                raise SoakError(f"the node did not activate within {timeout} s")
            self.pause(0.25)

    def deactivate(self) -> None:
        """Deactivate; nothing may be published afterwards."""
        self.transition(Transition.TRANSITION_DEACTIVATE)
        self.hush("deactivate")

    def cleanup(self) -> None:
        """Clean up; counting begins anew with the next configuration."""
        self.transition(Transition.TRANSITION_CLEANUP)
        self.pause(0.2)  # the last message of the old runtime may still be on its way
        with self.witness.telling() as watcher:
            watcher.restarted()
        # What a plain publisher or a goal has said since is forgotten; the latched instruction is heard again.
        self._told = self._latched
        self._follow(self._latched)

    def transition(self, transition: int) -> None:
        """Make a transition that must succeed."""
        try:
            self.graph.transition(transition, VLA)
        except NodeProcessError as error:
            raise SoakError(str(error)) from error

    def set_parameters(self, **values: Any) -> tuple[bool, str]:
        """Set parameters (dots are written ``__``), all or none; return whether they were taken, and why not."""
        parameters = [Parameter(name.replace("__", "."), value=value) for name, value in values.items()]
        request = SetParametersAtomically.Request(parameters=[each.to_parameter_msg() for each in parameters])
        result = self.graph.call(SetParametersAtomically, f"{VLA}/set_parameters_atomically", request).result
        return bool(result.successful), str(result.reason)

    def change(self, **values: Any) -> None:
        """Set parameters that must be taken."""
        taken, reason = self.set_parameters(**values)
        if not taken:
            raise SoakError(f"{values} were refused: {reason}")

    def limit(self, translation: float, rotation: float) -> None:
        """Set other limits."""
        loosest = max(translation, self.watcher.translation), max(rotation, self.watcher.rotation)
        with self.witness.telling() as watcher:
            watcher.limits(*loosest)
        self.change(limits__translation=translation, limits__rotation=rotation)
        self.pause(0.1)  # what was published before they changed arrives
        with self.witness.telling() as watcher:
            watcher.limits(translation, rotation)

    def goal(self, steps: int = 0, seconds: float = 0.0) -> Any:
        """Send a goal to ~/run_instruction; return its handle, accepted or not."""
        before, text = self._followed, self._another_instruction()
        self._follow(text)
        goal = RunInstruction.Goal(instruction=text, max_steps=steps)
        goal.max_duration = to_duration(round(seconds * SECOND))
        self.wait_for(self._goals.server_is_ready, "the action server")
        handle = self.result(self._goals.send_goal_async(goal))
        if not handle.accepted:
            self._follow(before)
        return handle

    def result(self, future: Any) -> Any:
        """Wait for the result of a future of the action client."""
        self.wait_for(future.done, "an answer of the action server")
        return future.result()

    def order(self, kind: str, count: int = 1, **details: Any) -> None:
        """Let the policy misbehave, and wait until it has begun its last step of that kind."""
        begun = self.nodes.orders_begun()
        self.nodes.order(kind=kind, count=count, **details)
        self.wait_for(lambda: self.nodes.orders_begun() >= begun + count, f"the policy to take {count} x {kind}")

    def slow(self, seconds: float) -> None:
        """Tell the watcher how long an inference may take from now on; what hangs gives nothing."""
        with self.witness.telling() as watcher:
            watcher.inference_ns = round(min(seconds, INFERENCE_TIMEOUT) * SECOND)

    def restart(self, name: str) -> None:
        """Kill the history node or the bridge, and start another."""
        self.nodes.restart(name)
        if name == BRIDGE:
            self.arm.forget()

    def hush(self, why: str) -> None:
        """From now on nothing may be published."""
        with self.witness.telling() as watcher:
            watcher.hush(why, time.time_ns())

    def resume(self) -> None:
        """From now on actions are welcome again."""
        with self.witness.telling() as watcher:
            watcher.unhush()

    # -- what must come of it

    def state(self) -> str:
        """Return the lifecycle state of the vla_node."""
        return self.graph.state(VLA)

    def wait_for(self, condition: Callable[[], Any], what: str, timeout: float | None = None) -> None:
        """Wait for something that must happen. Raises SoakError where it does not."""
        seconds = (timeout or self.settings.recovery) + self.settings.slack
        end = time.monotonic() + seconds
        while not condition():
            self.arm.watch()
            for process in self.graph.processes:
                process.check()
            if time.monotonic() > end:
                raise SoakError(f"waited {seconds:.1f} s for {what}")
            time.sleep(0.01)

    def pause(self, seconds: float) -> None:
        """Let things happen."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.arm.watch()
            time.sleep(min(left, 0.05))

    def wait_for_stop(self, before: int, what: str) -> None:
        """Wait until more than ``before`` stop actions have been seen."""
        self.wait_for(lambda: self.watcher.stops > before, f"the stop action {what}")

    def silence_follows(self, stops: int, why: str) -> None:
        """See the arm stopped (there were ``stops`` before), and let nothing be published from then on.

        A busy machine may have stopped it already, so good images on their way get the time to be too old.
        """
        self.pause(MAX_AGE + 0.1)
        self.wait_for_stop(stops, f"when {why}")
        self.hush(why)

    def recover(self) -> None:
        """See the node active, acting on fresh images and fed with its own actions. Raises SoakError."""
        self.camera.spoil = None
        self.nodes.order(kind="drop")
        self.wait_for(lambda: self.state() == "active", "the node to be active", 0.1)
        since, commands = time.time_ns(), self.arm.commands
        self.wait_for(lambda: self.witness.acted_since(since), "an action for a fresh image, and its history")
        self.wait_for(lambda: self.arm.commands > commands, "commands for the arm")
        self.wait_for(lambda: self.witness.diagnosed_within(2.0), "diagnostics", 2.0)
        self.slow(0.0)
        self.watcher.any_stamp = False

    def repair(self) -> None:
        """Bring the node back, whatever became of it, so that the soak can go on."""
        self.camera.spoil = None
        self.nodes.order(kind="drop")
        self.resume()
        for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
            self.graph.asks_for(transition, VLA)
        self.enable(True)
        self.instruct()

    def fail(self, rule: str, text: str) -> None:
        """Note a violation."""
        with self.witness.telling() as watcher:
            watcher.fail(rule, text, time.time_ns())

    # -- parts

    def _another_instruction(self) -> str:
        """One that is not followed now, and not what the topic said last: a repetition is no news to the node."""
        return self.random.choice([text for text in INSTRUCTIONS if text not in (self._followed, self._told)])

    def _follow(self, text: str) -> None:
        self._followed = text
        with self.witness.telling() as watcher:
            watcher.instruct(text, time.time_ns())

    def _on_image(self, stamp_ns: int) -> None:
        with self.witness.telling() as watcher:
            watcher.image(stamp_ns)
