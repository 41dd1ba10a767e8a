"""What the node benchmarks share: processes on a private domain, a listener, figures with targets, the load."""

# ruff: noqa: T201  a benchmark prints

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from domain_coordinator import domain_id
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.node import Node
from std_msgs.msg import String

from robovlms_ros.ros import qos
from robovlms_ros.ros.interfaces import VLAAction
from robovlms_ros.ros.node_process import (
    NodeProcess,
    node_process,
    private_environment,
    ros_arguments,
    spinning_node,
    wait_for,
    wait_until_active,
)
from robovlms_ros.soak.camera import Camera
from robovlms_ros.soak.scripted_node import said

START_TIMEOUT = 30.0
CALL_TIMEOUT = 10.0


@dataclass(frozen=True)
class Figure:
    """One measured number. ``target`` is the most that it may be; None where there is none."""

    name: str
    value: float
    unit: str
    target: float | None = None

    @property
    def reached(self) -> bool:
        """Whether the target is met; a value that is not a number never meets one."""
        return self.target is None or self.value <= self.target


class Graph:
    """A private domain: processes, and a node of our own that spins in a thread."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.environment = private_environment(stack.enter_context(domain_id()))
        self.node: Node = stack.enter_context(spinning_node(int(self.environment["ROS_DOMAIN_ID"]), "bench"))
        self.processes: list[NodeProcess] = []

    def start(self, name: str, command: Sequence[str]) -> NodeProcess:
        """Start a process that is stopped at the end."""
        process = self._stack.enter_context(node_process(name, command, self.environment, subprocess.PIPE))
        self.processes.append(process)
        return process

    def start_vla(self, *options: str, namespace: str = "", **parameters: Any) -> NodeProcess:
        """Start a vla_node with the null policy, which takes orders. Dots of a parameter are written ``__``."""
        values = {name.replace("__", "."): value for name, value in parameters.items()}
        command = [sys.executable, "-m", "robovlms_ros.soak.scripted_node", *options, *ros_arguments(values)]
        return self.start("vla_node", command + (["-r", f"__ns:={namespace}"] if namespace else []))

    def wait_until_active(self, name: str = "vla_node") -> None:
        """Wait for a lifecycle node."""
        wait_until_active(self.node, name, self.processes, START_TIMEOUT)

    def wait_for(self, condition: Callable[[], Any], failure: str, timeout: float = START_TIMEOUT) -> None:
        """Wait for a condition."""
        wait_for(lambda: bool(condition()), failure, self.processes, timeout, period=0.01)

    def instruct(self, text: str, topic: str = "instruction") -> None:
        """Publish an instruction, latched."""
        publisher = self.node.create_publisher(String, topic, qos.latched())
        publisher.publish(String(data=text))

    def listen(self, topic: str = "action", message_type: Any = VLAAction) -> Answers:
        """Collect the messages of ``topic``."""
        return Answers(self.node, topic, message_type)

    def camera(self, topic: str, rate: float) -> Camera:
        """Return a camera that somebody listens to."""
        camera = Camera(self.node, topic, rate)
        self.wait_for(lambda: camera.listeners, f"nobody listens to {topic}")
        return camera

    def call(self, service_type: Any, name: str, request: Any) -> Any:
        """Call a service and return its answer."""
        client = self.node.create_client(service_type, name)
        self.wait_for(client.service_is_ready, f"there is no service {name}")
        future = client.call_async(request)
        self.wait_for(future.done, f"{name} did not answer", CALL_TIMEOUT)
        self.node.destroy_client(client)
        return future.result()

    def transition(self, transition: int, name: str = "vla_node") -> None:
        """Ask for a transition and see it succeed."""
        request = ChangeState.Request()
        request.transition.id = transition
        if not self.call(ChangeState, f"{name}/change_state", request).success:
            state = self.call(GetState, f"{name}/get_state", GetState.Request()).current_state
            raise RuntimeError(f"{name} refused transition {transition} in state {state.label}")

    def census(self, process: NodeProcess) -> dict[str, int]:
        """Ask a scripted node what it holds."""
        before = len([each for each in said(process.log()) if "census" in each])
        order(process, kind="census")

        def answers() -> list[dict[str, Any]]:
            return [each["census"] for each in said(process.log()) if "census" in each]

        self.wait_for(lambda: len(answers()) > before, "no census came", CALL_TIMEOUT)
        return dict(answers()[-1])


class Answers:
    """Messages with their time of reception."""

    def __init__(self, node: Node, topic: str, message_type: Any) -> None:
        self.messages: list[Any] = []
        self.received_ns: list[int] = []
        node.create_subscription(message_type, topic, self._on_message, qos.action_listener())

    def _on_message(self, message: Any) -> None:
        self.received_ns.append(time.time_ns())
        self.messages.append(message)

    def stamps(self) -> list[int]:
        """Return the stamps in nanoseconds."""
        stamps = [message.header.stamp for message in self.messages]
        return [stamp.sec * 1_000_000_000 + stamp.nanosec for stamp in stamps]

    def latencies_ms(self) -> np.ndarray:
        """Return reception minus stamp in milliseconds."""
        return (np.array(self.received_ns) - np.array(self.stamps())) / 1e6


def order(process: NodeProcess, **fields: Any) -> None:
    """Tell a scripted node what to do."""
    assert process.stdin is not None
    process.stdin.write(json.dumps(fields) + "\n")
    process.stdin.flush()


@contextmanager
def private_graph() -> Iterator[Graph]:
    """Yield a graph whose processes end with it."""
    with ExitStack() as stack:
        yield Graph(stack)


# -- what it was measured on, and what else ran


class Load:
    """How much of the machine others used, between construction and `others`."""

    def __init__(self) -> None:
        self._busy, self._own, self._started = _busy_seconds(), _own_seconds(), time.monotonic()

    def others(self) -> float:
        """Return the cores that processes other than ours and our children kept busy. Children must have ended."""
        busy, own = _busy_seconds() - self._busy, _own_seconds() - self._own
        return max(0.0, (busy - own) / (time.monotonic() - self._started))


def _busy_seconds() -> float:
    user, nice, system, _, _, irq, softirq, steal = (
        int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    return sum(os.times()[:4])


def machine() -> str:
    """Return what the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    distribution = os.environ.get("ROS_DISTRO", "?")
    return (
        f"{cpu}, {os.cpu_count()} cores, ROS 2 {distribution}, {os.environ.get('RMW_IMPLEMENTATION', 'default')}"
    )


# -- command line


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Return the parser that all of these scripts begin with."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


def report(sections: dict[str, list[Figure]], others: float, as_json: bool) -> int:
    """Print what was measured; return 0 where every target is reached."""
    figures = [figure for section in sections.values() for figure in section]
    if as_json:
        content = {
            "machine": machine(),
            "cores_used_by_others": round(others, 2),
            "figures": {
                name: [{**asdict(figure), "reached": figure.reached} for figure in section]
                for name, section in sections.items()
            },
        }
        print(json.dumps(content, indent=2))
    else:
        print(f"{machine()}; other processes kept {others:.2f} cores busy\n")
        print("| figure | measured | target | |\n|---|---|---|---|")
        for name, section in sections.items():
            for figure in section:
                target = "" if figure.target is None else f"<= {figure.target:g} {figure.unit}"
                verdict = "" if figure.target is None else "ok" if figure.reached else "MISSED"
                print(f"| {name}: {figure.name} | {figure.value:.4g} {figure.unit} | {target} | {verdict} |")
    return 0 if all(figure.reached for figure in figures) else 1


def wait_quietly(seconds: float) -> None:
    """Let things settle."""
    threading.Event().wait(seconds)


ACTIVE = State.PRIMARY_STATE_ACTIVE
