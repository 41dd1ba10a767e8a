"""The nodes under soak, and everything that is done to them, told to the watcher as it is done."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from rcl_interfaces.srv import SetParameters
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.parameter import Parameter
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from robovlms_ros.policy.null_policy import NullProfile
from robovlms_ros.ros import qos
from robovlms_ros.ros.interfaces import ActionHistory, VLAAction
from robovlms_ros.ros.messages import to_nanoseconds
from robovlms_ros.ros.node_process import NodeProcess, NodeProcessError, executable, ros_arguments
from robovlms_ros.soak.camera import Camera
from robovlms_ros.soak.graph import Graph, order, scripted_command
from robovlms_ros.soak.scripted_node import MARK, said
from robovlms_ros.soak.watcher import SECOND, SeenAction, Watcher

VLA = "vla_node"
INSTRUCTIONS = ("pick up the red block", "open the drawer", "ارفع المكعب", "push the 🍎 to the left")
# What the node is set to. The timeouts are short, so that what they guard against fits into a fault of seconds.
MAX_AGE = 0.5
INFERENCE_TIMEOUT = 1.0
WATCHDOG = 0.4
MAX_FAILURES = 4
PARAMETERS = {
    "images.max_age": MAX_AGE,
    "watchdog.timeout": WATCHDOG,
    "watchdog.inference_timeout": INFERENCE_TIMEOUT,
    "watchdog.max_failures": MAX_FAILURES,
    "autostart": True,
}


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
    """Camera, instruction, vla_node and action_history_node on a private domain, watched."""

    def __init__(self, graph: Graph, settings: RigSettings, seed: int) -> None:
        profile = NullProfile()
        self.settings = settings
        self.random = Random(seed)
        self.watcher = Watcher(
            translation=profile.limits.translation,
            rotation=profile.limits.rotation,
            max_age_ns=round(MAX_AGE * SECOND),
            slack_ns=round(settings.slack * SECOND),
        )
        self.graph = graph
        self._lock = threading.Lock()  # the watcher is told things by three threads
        self._newest: SeenAction | None = None
        self._newest_history: Any = None
        self._diagnostics: dict[str, DiagnosticStatus] = {}
        self._diagnosed = 0.0
        self._said = self._carried_out = 0
        self._latched = ""
        node = graph.node
        node.create_subscription(VLAAction, "action", self._on_action, qos.action_listener())
        node.create_subscription(ActionHistory, "action_history", self._on_history, qos.action_listener())
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._speaker = node.create_publisher(String, "instruction", qos.latched())
        quiet = PublisherEventCallbacks(use_default_callbacks=False)  # one of the subscriptions cannot hear it
        self._plain_speaker = node.create_publisher(String, "instruction", qos.volatile(), event_callbacks=quiet)
        self.histories = node.create_publisher(ActionHistory, "action_history", qos.actions())
        self.camera = Camera(node, "image", settings.rate)
        self.camera.on_image = self._on_image
        command = settings.vla_command or scripted_command()
        self.vla = graph.start(VLA, [*command, *ros_arguments(PARAMETERS)])
        self.history = self._start_history()

    def begin(self) -> None:
        """Wait for the nodes, show images and give an instruction; return when they act."""
        self.graph.wait_until_active(VLA)
        self.graph.wait_for(lambda: self.camera.listeners, "nobody listens to the camera")
        self.instruct()
        self.camera.start()
        self.wait_for(lambda: self._newest, "an action", 10.0)

    def end(self) -> float:
        """End the nodes as an operator would; return the seconds that the vla_node took."""
        self.camera.stop()
        self.graph.processes.clear()
        sent = time.monotonic()
        for process in (self.vla, self.history):
            process.signal(signal.SIGTERM)
        codes: list[int | None] = []
        for process in (self.vla, self.history):
            try:
                codes.append(process.wait(20.0))
            except subprocess.TimeoutExpired:
                codes.append(None)
            if process is self.vla:
                seconds = time.monotonic() - sent
        if codes != [0, 0]:
            self.fail("shutdown", f"the exit codes after SIGTERM are {codes}, not 0")
        return seconds

    # -- what is done to the nodes

    def instruct(self, text: str = "", latched: bool = True, followed: bool = True) -> str:
        """Publish ``text``, by default another good instruction; ``followed``: whether it is one."""
        if not text:
            current = self._newest.instruction if self._newest else ""
            text = self.random.choice([each for each in INSTRUCTIONS if each != current])
        good = text if followed else ""
        if latched:
            self._latched = good
        with self._lock:
            self.watcher.instruct(good, time.time_ns())
        (self._speaker if latched else self._plain_speaker).publish(String(data=text))
        return text

    def reset(self) -> None:
        """Call ~/reset."""
        answer = self.graph.call(Trigger, f"{VLA}/reset", Trigger.Request())
        number = re.search(r"episode (\d+)", answer.message)
        if not answer.success or not number:
            raise SoakError(f"reset answered {answer.message!r}")
        with self._lock:
            self.watcher.new_episode(int(number.group(1)), time.time_ns())

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
        with self._lock:
            self.watcher.restarted()
            # What a plain publisher has said since is forgotten; the latched instruction is heard again.
            self.watcher.instruct(self._latched, time.time_ns())

    def transition(self, transition: int) -> None:
        """Make a transition that must succeed."""
        try:
            self.graph.transition(transition, VLA)
        except NodeProcessError as error:
            raise SoakError(str(error)) from error

    def set_parameters(self, **values: Any) -> list[tuple[bool, str]]:
        """Set parameters (dots are written ``__``); return for each whether it was taken, and why not."""
        parameters = [Parameter(name.replace("__", "."), value=value) for name, value in values.items()]
        request = SetParameters.Request(parameters=[each.to_parameter_msg() for each in parameters])
        results = self.graph.call(SetParameters, f"{VLA}/set_parameters", request).results
        return [(result.successful, result.reason) for result in results]

    def limit(self, translation: float, rotation: float) -> None:
        """Set other limits."""
        loosest = max(translation, self.watcher.translation), max(rotation, self.watcher.rotation)
        with self._lock:
            self.watcher.limits(*loosest)
        results = self.set_parameters(limits__translation=translation, limits__rotation=rotation)
        if not all(taken for taken, _ in results):
            raise SoakError(f"good limits were refused: {results}")
        self.pause(0.1)  # what was published before they changed arrives
        with self._lock:
            self.watcher.limits(translation, rotation)

    def order(self, kind: str, count: int = 1, timeout: float = 10.0, **details: Any) -> None:
        """Let the policy misbehave, and wait until it has begun its last step of that kind."""
        carried_out = self._orders_begun()
        order(self.vla, kind=kind, count=count, **details)
        self.wait_for(
            lambda: self._orders_begun() >= carried_out + count, f"the policy to take {count} x {kind}", timeout
        )

    def slow(self, seconds: float) -> None:
        """Tell the watcher how long an inference may take from now on."""
        with self._lock:
            self.watcher.inference_ns = round(min(seconds, INFERENCE_TIMEOUT) * SECOND)

    def restart_history(self) -> None:
        """Kill the history node and start another."""
        self.graph.processes.remove(self.history)
        self.history.signal(signal.SIGKILL)
        self.history.wait(5.0)
        self.pause(0.5)
        self.history = self._start_history()

    def hush(self, why: str) -> None:
        """From now on nothing may be published."""
        with self._lock:
            self.watcher.hush(why, time.time_ns())

    def resume(self) -> None:
        """From now on actions are welcome again."""
        with self._lock:
            self.watcher.unhush()

    # -- what is seen of them

    def state(self) -> str:
        """Return the lifecycle state of the vla_node."""
        return self.graph.state(VLA)

    def control(self) -> tuple[bytes, str]:
        """Return level and message of the vla_node's last diagnostics."""
        status = self._diagnostics.get(f"{VLA}: control")
        return (bytes(status.level), str(status.message)) if status else (DiagnosticStatus.STALE, "")

    def counted(self, reason: str) -> int:
        """Return a counter of the diagnostics; they come once a second."""
        status = self._diagnostics.get(f"{VLA}: control")
        pairs = {pair.key: pair.value for pair in status.values} if status else {}
        return int(pairs.get(f"count of {reason}", 0))

    def wait_for(self, condition: Callable[[], Any], what: str, timeout: float | None = None) -> None:
        """Wait for something that must happen. Raises SoakError where it does not."""
        seconds = (timeout or self.settings.recovery) + self.settings.slack
        end = time.monotonic() + seconds
        while not condition():
            for process in self.graph.processes:
                process.check()
            if time.monotonic() > end:
                raise SoakError(f"waited {seconds:.1f} s for {what}")
            time.sleep(0.01)

    def pause(self, seconds: float) -> None:
        """Let things happen."""
        time.sleep(seconds)

    def actions(self) -> int:
        """Return how many actions have been seen."""
        return self.watcher.actions

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
        order(self.vla, kind="drop")
        self.wait_for(lambda: self.state() == "active", "the node to be active", 0.1)
        since = time.time_ns()

        def acts() -> bool:
            newest, history = self._newest, self._newest_history
            if newest is None or newest.still or newest.stamp_ns < since or history is None:
                return False
            return to_nanoseconds(history.header.stamp) >= since

        self.wait_for(acts, "an action for a fresh image, and its history")
        self.wait_for(lambda: time.monotonic() - self._diagnosed < 2.0, "diagnostics", 2.0)
        self.slow(0.0)
        self.watcher.any_stamp = False

    def repair(self) -> None:
        """Bring the node back, whatever became of it, so that the soak can go on."""
        self.camera.spoil = None
        order(self.vla, kind="drop")
        self.resume()
        for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
            self.graph.asks_for(transition, VLA)
        self.enable(True)
        self.instruct()

    def fail(self, rule: str, text: str) -> None:
        """Note a violation."""
        with self._lock:
            self.watcher.fail(rule, text, time.time_ns())

    # -- parts

    def _start_history(self) -> NodeProcess:
        return self.graph.start("action_history_node", [*executable("action_history_node"), *ros_arguments({})])

    def _orders_begun(self) -> int:
        log = self.vla.log(self._said)
        whole = log[: log.rfind("\n") + 1]
        self._said += len(whole.encode())
        self._carried_out += sum("took" in each for each in said(whole))
        return self._carried_out

    def _on_image(self, stamp_ns: int) -> None:
        with self._lock:
            self.watcher.image(stamp_ns)

    def _on_action(self, message: VLAAction) -> None:
        seen = seen_action(message)
        with self._lock:
            self.watcher.action(seen)
        self._newest = seen

    def _on_history(self, message: ActionHistory) -> None:
        self._newest_history = message

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self._diagnosed = time.monotonic()
        for status in message.status:
            self._diagnostics[status.name] = status


def seen_action(message: VLAAction) -> SeenAction:
    """Return what the watcher needs of a message."""
    translation, rotation = message.translation, message.rotation
    return SeenAction(
        stamp_ns=to_nanoseconds(message.header.stamp),
        latency_ns=to_nanoseconds(message.latency),
        translation=(translation.x, translation.y, translation.z),
        rotation=(rotation.x, rotation.y, rotation.z),
        gripper=message.gripper,
        model_action=message.model_action.tolist(),
        sequence=message.sequence,
        episode=message.episode,
        instruction=message.instruction,
        saturated=message.saturated,
    )


def tracebacks(log: str) -> int:
    """Return how many exceptions that nobody expected a node has logged."""
    return log.count("Traceback (most recent call last)")


def lines(log: str) -> int:
    """Return how many lines a node has logged, without what the soak asked of it."""
    return sum(not line.startswith(MARK) for line in log.splitlines())
