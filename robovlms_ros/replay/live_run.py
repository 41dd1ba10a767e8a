"""Runs the nodes as separate processes, plays a bag to them over DDS and keeps what comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rclpy
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from domain_coordinator import domain_id
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from robovlms_ros.replay.bag import Bag
from robovlms_ros.replay.player import BagPlayer
from robovlms_ros.ros.interfaces import ActionHistory, VLAAction

NANOSECONDS = 1_000_000_000


class LiveRunError(RuntimeError):
    """A node did not come up, or died."""


@dataclass(frozen=True)
class ReceivedAction:
    """An action as it came in over DDS. ``latency``: seconds from its image's stamp to its reception."""

    message: Any
    latency: float

    @property
    def stamp_ns(self) -> int:
        """Stamp of the image that the action answers."""
        stamp = self.message.header.stamp
        return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


@dataclass
class LiveRun:
    """What a run gave: the stamps of the images that were published, and what came back."""

    image_stamps_ns: list[int] = field(default_factory=list)
    actions: list[ReceivedAction] = field(default_factory=list)
    histories: list[Any] = field(default_factory=list)

    @property
    def unanswered(self) -> list[int]:
        """Indices of the images for which no action came."""
        answered = {action.stamp_ns for action in self.actions}
        return [i for i, stamp in enumerate(self.image_stamps_ns) if stamp not in answered]


def run_live(
    bag: Bag,
    model: Path,
    *,
    image_topic: str,
    instruction_topic: str,
    rate: float = 1.0,
    startup_timeout: float = 60.0,
    on_image: Callable[[], None] = lambda: None,
) -> LiveRun:
    """Play ``bag`` at ``rate`` to a vla_node and an action_history_node of their own, on a private domain.

    ``model`` is a packed folder. ``on_image`` is called after every published image.

    Raises:
        LiveRunError: a node did not become active in ``startup_timeout`` seconds or exited; the message ends
            with what it logged.
    """
    remaps = {"image": image_topic, "instruction": instruction_topic}
    run = LiveRun()
    with ExitStack() as stack:
        domain = stack.enter_context(domain_id())
        environment = {
            **os.environ,
            "ROS_DOMAIN_ID": str(domain),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            # Player, DDS and two nodes share this machine: torch would spin on every core and starve them.
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        }
        parameters = {"use_sim_time": True}
        vla = stack.enter_context(
            _process("vla_node", {**parameters, "model.path": str(model)}, remaps, environment)
        )
        history = stack.enter_context(_process("action_history_node", parameters, {}, environment))
        node = stack.enter_context(_spinning_node(domain))
        player = BagPlayer(node, bag, rate=rate)

        def on_action(message: Any) -> None:
            received_ns = player.now_ns()
            stamp = message.header.stamp
            stamp_ns = stamp.sec * NANOSECONDS + stamp.nanosec
            run.actions.append(ReceivedAction(message, (received_ns - stamp_ns) / NANOSECONDS / rate))

        node.create_subscription(VLAAction, "action", on_action, 100)
        node.create_subscription(ActionHistory, "action_history", run.histories.append, 100)
        _wait_until_active(node, "/vla_node", [vla, history], startup_timeout)
        listened = [player.publishers[topic] for topic in (image_topic, instruction_topic)]
        _wait_for(
            lambda: all(publisher.get_subscription_count() for publisher in listened),
            f"no node subscribed to {image_topic} and {instruction_topic}",
            [vla, history],
            startup_timeout,
        )

        stop = threading.Event()
        for message in player.play(stop):
            vla.check()
            if message.topic == image_topic:
                run.image_stamps_ns.append(_header_stamp_ns(message.data))
                on_image()
        _let_finish(run, player, stop)
    return run


def _let_finish(run: LiveRun, player: BagPlayer, stop: threading.Event, seconds: float = 2.0) -> None:
    """Wait for the answer to the last image, at most ``seconds``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        player.run_clock(0.05, stop)
        if run.image_stamps_ns and any(a.stamp_ns == run.image_stamps_ns[-1] for a in run.actions):
            player.run_clock(0.1, stop)  # one more moment for the history message of the last action
            return


def _header_stamp_ns(data: bytes) -> int:
    """The stamp of a little-endian CDR message that begins with a std_msgs/Header, without decoding its image."""
    return int.from_bytes(data[4:8], "little", signed=True) * NANOSECONDS + int.from_bytes(data[8:12], "little")


class _NodeProcess:
    """A running executable of this package, with its log in a temporary file."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        self._name = name
        self._log = tempfile.NamedTemporaryFile("w+", suffix=f".{name}.log")  # noqa: SIM115 (closed in stop)
        self._popen = subprocess.Popen(command, env=environment, stdout=self._log, stderr=subprocess.STDOUT)

    def log_tail(self) -> str:
        lines = Path(self._log.name).read_text(errors="replace").splitlines()
        return "\n".join(f"  {self._name}| {line}" for line in lines[-15:])

    def check(self) -> None:
        if (code := self._popen.poll()) is not None:
            raise LiveRunError(f"{self._name} exited with code {code}:\n{self.log_tail()}")

    def stop(self) -> None:
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGINT)
            try:
                self._popen.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()
        self._log.close()


@contextmanager
def _process(
    name: str, parameters: dict[str, Any], remaps: dict[str, str], environment: dict[str, str]
) -> Iterator[_NodeProcess]:
    command = [*_executable(name), "--ros-args"]
    for key, value in parameters.items():
        command += ["-p", f"{key}:={str(value).lower() if isinstance(value, bool) else value}"]
    for source, target in remaps.items():
        command += ["-r", f"{source}:={target}"]
    process = _NodeProcess(name, command, environment)
    try:
        yield process
    finally:
        process.stop()


def _executable(name: str) -> list[str]:
    """The installed executable, which is what `ros2 run` starts."""
    try:
        return [sys.executable, str(Path(get_package_prefix("robovlms_ros"), "lib", "robovlms_ros", name))]
    except PackageNotFoundError as error:
        raise LiveRunError(
            "robovlms_ros is not built in this environment: 'make setup && source scripts/env.sh', or "
            "'colcon build && source install/setup.bash'"
        ) from error


@contextmanager
def _spinning_node(domain: int) -> Iterator[Node]:
    """A node in a context of its own on ``domain``, its executor running in a thread."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    node = Node("live_run", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    try:
        yield node
    finally:
        executor.shutdown()
        thread.join(timeout=5)
        node.destroy_node()
        rclpy.try_shutdown(context=context)


def _wait_until_active(node: Node, name: str, processes: list[_NodeProcess], timeout: float) -> None:
    client: Any = node.create_client(GetState, f"{name}/get_state")
    states: list[int] = []

    def is_active() -> bool:
        if client.service_is_ready():
            future = client.call_async(GetState.Request())
            future.add_done_callback(lambda done: states.append(done.result().current_state.id))
        return states[-1:] == [State.PRIMARY_STATE_ACTIVE]

    _wait_for(is_active, f"{name} did not become active", processes, timeout)
    node.destroy_client(client)


def _wait_for(condition: Callable[[], bool], failure: str, processes: list[_NodeProcess], timeout: float) -> None:
    deadline = time.monotonic() + timeout
    wake = threading.Event()
    while not condition():
        for process in processes:
            process.check()
        if time.monotonic() > deadline:
            logs = "\n".join(process.log_tail() for process in processes)
            raise LiveRunError(f"{failure} within {timeout:.0f} s:\n{logs}")
        wake.wait(0.1)
