"""Nodes as processes of their own on a private domain, for replays, benchmarks and the soak."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import rclpy
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

LOG_TAIL = 15
PR_SET_PDEATHSIG = 1


class NodeProcessError(RuntimeError):
    """A node did not come up, or died; the message ends with what it logged."""


class NodeProcess:
    """A running process with its log in a temporary file, killed by the kernel when its starter dies.

    Start it from the main thread: the kernel takes the end of the thread that started it for the starter's.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], stdin: int | None = None
    ) -> None:
        self.name = name
        self.hopeless = ""
        """A text in its log that says that it will never do what it is waited for; empty = none."""
        self._log = tempfile.NamedTemporaryFile("w+", suffix=f".{name}.log")  # noqa: SIM115 (closed in stop)
        self._popen = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=stdin,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=_end_with_parent() if sys.platform == "linux" else None,
        )

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative where a signal ended it."""
        return self._popen.poll()

    @property
    def stdin(self) -> IO[str] | None:
        """The pipe to it, where ``stdin=subprocess.PIPE`` asked for one."""
        return self._popen.stdin

    def log(self, offset: int = 0) -> str:
        """Return what it has written so far, from byte ``offset`` on."""
        return Path(self._log.name).read_bytes()[offset:].decode(errors="replace")

    def log_tail(self) -> str:
        """Return the last lines that it wrote."""
        lines = self.log().splitlines()[-LOG_TAIL:]
        return "\n".join(f"  {self.name}| {line}" for line in lines)

    def check(self) -> None:
        """Raise NodeProcessError if it has ended, or has said that it is ``hopeless``."""
        if self.hopeless and (said := [line for line in self.log().splitlines() if self.hopeless in line]):
            raise NodeProcessError(said[-1])
        if (code := self.exit_code) is not None:
            raise NodeProcessError(f"{self.name} exited with code {code}:\n{self.log_tail()}")

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._popen.send_signal(number)

    def wait(self, timeout: float) -> int:
        """Wait for its end and return the exit code. Raises subprocess.TimeoutExpired."""
        return self._popen.wait(timeout)

    def stop(self) -> None:
        """End it, by force if it takes more than five seconds, and forget its log."""
        if self.exit_code is None:
            self.signal(signal.SIGINT)
            try:
                self.wait(5)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()
        if self._popen.stdin is not None:
            self._popen.stdin.close()
        self._log.close()


def private_environment(domain: int) -> dict[str, str]:
    """Return the environment of a process on ``domain`` that neither sees nor is seen by another machine."""
    return {
        **os.environ,
        "ROS_DOMAIN_ID": str(domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        # Several processes share this machine: torch would spin on every core and starve the others.
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }


def executable(name: str) -> list[str]:
    """Return the command of an installed executable, which is what `ros2 run` starts."""
    try:
        return [sys.executable, str(Path(get_package_prefix("robovlms_ros"), "lib", "robovlms_ros", name))]
    except PackageNotFoundError as error:
        raise NodeProcessError(
            "robovlms_ros is not built in this environment: 'make setup && source scripts/env.sh', or "
            "'colcon build && source install/setup.bash'"
        ) from error


def ros_arguments(parameters: Mapping[str, Any], remaps: Mapping[str, str] | None = None) -> list[str]:
    """Return the command line that sets ``parameters`` and renames topics and services."""
    arguments = ["--ros-args"]
    for key, value in parameters.items():
        arguments += ["-p", f"{key}:={str(value).lower() if isinstance(value, bool) else value}"]
    for source, target in (remaps or {}).items():
        arguments += ["-r", f"{source}:={target}"]
    return arguments


@contextmanager
def node_process(
    name: str, command: Sequence[str], environment: Mapping[str, str], stdin: int | None = None
) -> Iterator[NodeProcess]:
    """Run ``command`` and stop it at the end."""
    process = NodeProcess(name, command, environment, stdin)
    try:
        yield process
    finally:
        process.stop()


@contextmanager
def spinning_node(domain: int, name: str) -> Iterator[Node]:
    """Yield a node in a context of its own on ``domain``, its executor running in a thread."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    node = Node(name, context=context)
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


def wait_until_active(node: Node, name: str, processes: Sequence[NodeProcess], timeout: float) -> None:
    """Wait for a lifecycle node to become active. Raises NodeProcessError."""
    client: Any = node.create_client(GetState, f"{name}/get_state")
    states: list[int] = []

    def is_active() -> bool:
        if client.service_is_ready():
            future = client.call_async(GetState.Request())
            future.add_done_callback(lambda done: states.append(done.result().current_state.id))
        return states[-1:] == [State.PRIMARY_STATE_ACTIVE]

    wait_for(is_active, f"{name} did not become active", processes, timeout)
    node.destroy_client(client)


def wait_for(
    condition: Callable[[], bool],
    failure: str,
    processes: Sequence[NodeProcess],
    timeout: float,
    period: float = 0.1,
) -> None:
    """Wait until ``condition()``. Raises NodeProcessError at the deadline or where a process has ended."""
    deadline = time.monotonic() + timeout
    wake = threading.Event()
    while not condition():
        for process in processes:
            process.check()
        if time.monotonic() > deadline:
            logs = "\n".join(process.log_tail() for process in processes)
            raise NodeProcessError(f"{failure} within {timeout:.0f} s:\n{logs}")
        wake.wait(period)


def _end_with_parent() -> Callable[[], None]:
    """Return what the child does before it starts; the library is loaded here, where there are threads."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask_the_kernel() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    return ask_the_kernel
