"""The three nodes as processes: started, given orders, killed, ended."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from robovlms_ros.ros.node_process import NodeProcess, executable, ros_arguments
from robovlms_ros.soak import arm
from robovlms_ros.soak.graph import Graph, order, scripted_command
from robovlms_ros.soak.scripted_node import said
from robovlms_ros.soak.watcher import SECOND

VLA = "vla_node"
HISTORY = "action_history_node"
BRIDGE = "arm_bridge_node"
# What the node is set to. The timeouts are short, so that what they guard against fits into a fault of seconds.
MAX_AGE = 0.5
INFERENCE_TIMEOUT = 1.0
WATCHDOG = 0.4
MAX_FAILURES = 4
CHUNK = 8
# With a rate of 10 Hz, which a fault sets, the last action of a chunk is executed so long after the first.
CHUNK_NS = CHUNK * SECOND // 10
PARAMETERS = {
    "images.max_age": MAX_AGE,
    "watchdog.timeout": WATCHDOG,
    "watchdog.inference_timeout": INFERENCE_TIMEOUT,
    "watchdog.max_failures": MAX_FAILURES,
    "autostart": True,
}
OTHERS: dict[str, dict[str, Any]] = {HISTORY: {}, BRIDGE: arm.PARAMETERS}


class Nodes:
    """Runs them on ``graph``. ``vla_command`` replaces the vla_node. All from the main thread."""

    def __init__(self, graph: Graph, vla_command: Sequence[str]) -> None:
        self._graph = graph
        command = vla_command or scripted_command("--chunk", str(CHUNK))
        self.vla = graph.start(VLA, [*command, *ros_arguments(PARAMETERS)])
        self.others = {name: self._start(name) for name in OTHERS}
        self._read = self._carried_out = 0

    @property
    def all(self) -> list[NodeProcess]:
        """All that should be running."""
        return [self.vla, *self.others.values()]

    def restart(self, name: str, pause: float = 0.5) -> None:
        """Kill a node that is not the vla_node; start it again after ``pause`` seconds."""
        process = self.others[name]
        self._graph.processes.remove(process)
        process.signal(signal.SIGKILL)
        process.wait(5.0)
        time.sleep(pause)
        self.others[name] = self._start(name)

    def order(self, **fields: Any) -> None:
        """Tell the policy what to do."""
        order(self.vla, **fields)

    def orders_begun(self) -> int:
        """Return how many orders the policy has begun to carry out."""
        log = self.vla.log(self._read)
        whole = log[: log.rfind("\n") + 1]
        self._read += len(whole.encode())
        self._carried_out += sum("took" in each for each in said(whole))
        return self._carried_out

    def end(self) -> tuple[float, list[str]]:
        """End all with SIGTERM; return the seconds that the vla_node took, and what was wrong with their ends."""
        self._graph.processes.clear()
        sent, seconds = time.monotonic(), 0.0
        for process in self.all:
            process.signal(signal.SIGTERM)
        problems = []
        for process in self.all:
            try:
                code = process.wait(20.0)
            except subprocess.TimeoutExpired:
                problems.append(f"{process.name} did not end within 20 s of SIGTERM:\n{process.log_tail()}")
            else:
                if code:
                    problems.append(f"{process.name} ended with {code} after SIGTERM:\n{process.log_tail()}")
            if process is self.vla:
                seconds = time.monotonic() - sent
        return seconds, problems

    def _start(self, name: str) -> NodeProcess:
        return self._graph.start(name, [*executable(name), *ros_arguments(OTHERS[name])])
