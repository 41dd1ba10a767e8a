"""A vla_node in a private graph, with the null policy or one that misbehaves on purpose; nodes as processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from goals import GoalClient, SimulatedClock

from robovlms_ros.policy.null_policy import NullPolicy
from robovlms_ros.policy.types import ActionChunk, Observation

ROOT = Path(__file__).resolve().parents[2]


class Scripted(NullPolicy):
    """The null policy, whose every step goes through ``script``; what it saw is kept in ``seen``."""

    def __init__(self, script: Callable[[Observation, ActionChunk], ActionChunk] | None = None, **arguments: Any):
        super().__init__(**arguments)
        self.script = script
        self.seen: list[Observation] = []

    def session(self, execute_horizon: int = 1) -> Any:
        policy, inner = self, super().session(execute_horizon)

        class Session:
            reset = staticmethod(inner.reset)

            def step(self, observation: Observation) -> ActionChunk:
                chunk = inner.step(observation)
                if observation.instruction == "warm up":
                    return chunk
                policy.seen.append(observation)
                return policy.script(observation, chunk) if policy.script else chunk

        return Session()


class VLA:
    """The node under test and its topics, relative to its namespace."""

    def __init__(self, graph: Any, policy: Any, parameters: dict[str, Any], **arguments: Any) -> None:
        from rclpy.parameter import Parameter
        from sensor_msgs.msg import Image
        from std_msgs.msg import String

        from robovlms_ros.nodes.vla_node import VLANode
        from robovlms_ros.ros import qos
        from robovlms_ros.ros.interfaces import VLAAction

        self.graph = graph
        self.policy = policy
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        factory = policy if callable(policy) else lambda values: policy
        self.prefix = f"{arguments['namespace']}/" if "namespace" in arguments else ""
        self.node = graph.add(VLANode(factory, context=graph.context, parameter_overrides=overrides, **arguments))
        self.actions = graph.collect(VLAAction, f"{self.prefix}action", 100)
        self.image_type, self.string, self.latched, self.plain = Image, String, qos.latched(), qos.volatile()
        self._camera: dict[str, Any] = {}
        self._speaker: Any = None

    @property
    def state(self) -> str:
        return str(self.node.lifecycle_state)

    def wait_until(self, state: str) -> VLA:
        self.graph.wait_for(lambda: self.state == state, f"{state}, it is {self.state}")
        return self

    def say(self, text: str) -> None:
        """Publish an instruction, latched, and wait until the node has heard it."""
        if self._speaker is None:
            self._speaker = self.graph.publisher(self.string, f"{self.prefix}instruction", self.latched, 2)
        self._speaker.publish(self.string(data=text))
        controller = self.node._runtime.controller
        self.graph.wait_for(lambda: controller.instruction == text, f"the node hears {text!r}")

    def say_again(self, text: str) -> None:
        """Repeat an instruction; safe in a callback."""
        self._speaker.publish(self.string(data=text))

    def see(self, message: Any = None, topic: str = "image") -> Any:
        """Publish an image (now, if none is given) and return it."""
        if topic not in self._camera:
            self._camera[topic] = self.graph.publisher(self.image_type, f"{self.prefix}{topic}", 10)
        message = message or self.graph.image()
        self._camera[topic].publish(message)
        return message

    def act(self) -> Any:
        """Show an image and return the action that answers it."""
        stamp = self.see().header.stamp
        return self.graph.wait_for(
            lambda: next((action for action in self.actions if action.header.stamp == stamp), None),
            "an action for the image",
        )

    def transition(self, name: str) -> bool:
        """Make ``name`` happen in the executor's thread, as the service would; return whether it succeeded."""
        from rclpy.lifecycle import TransitionCallbackReturn

        task = self.graph.executor.create_task(getattr(self.node, f"trigger_{name}"))
        self.graph.wait_for(task.done, f"the end of {name}", timeout=60)
        return bool(task.result() == TransitionCallbackReturn.SUCCESS)

    def counts(self) -> dict[str, int]:
        return dict(self.node._runtime.controller.counts)

    def wait_for_count(self, reason: str, count: int = 1) -> None:
        self.graph.wait_for(lambda: self.counts().get(reason, 0) >= count, f"{count} x {reason}: {self.counts()}")


@pytest.fixture
def vla(graph: Any) -> Callable[..., VLA]:
    """Start a vla_node, ``vla(policy, state, {parameters}, **node_arguments)``, and wait for ``state``."""

    def start(
        policy: Any = None, state: str = "active", parameters: dict[str, Any] | None = None, **arguments: Any
    ) -> VLA:
        started = VLA(
            graph, policy or Scripted(), {"autostart": state == "active", **(parameters or {})}, **arguments
        )
        return started.wait_until(state)

    return start


@pytest.fixture
def scripted() -> type[Scripted]:
    return Scripted


class Process:
    """A node in a process of its own, with what it wrote to stderr."""

    def __init__(self, arguments: list[str], domain: int) -> None:
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        environment = os.environ | {"ROS_DOMAIN_ID": str(domain), "PYTHONPATH": path}
        self.started = time.monotonic()
        self.popen = subprocess.Popen(
            [sys.executable, *arguments], stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT
        )
        self.lines: list[str] = []
        self.first_line_after = 0.0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            self.first_line_after = self.first_line_after or time.monotonic() - self.started
            self.lines.append(line.rstrip())

    def said(self, text: str) -> list[str]:
        return [line for line in self.lines if text in line]

    def resident_megabytes(self) -> float:
        status = Path(f"/proc/{self.popen.pid}/status").read_text(encoding="ascii")
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def loaded_libraries(self) -> str:
        return Path(f"/proc/{self.popen.pid}/maps").read_text(encoding="utf-8")

    def end(self, number: signal.Signals) -> tuple[int, float]:
        """Send a signal; return the exit code and the seconds until the end."""
        sent = time.monotonic()
        self.popen.send_signal(number)
        code = self.popen.wait(20)
        self._reader.join(5)
        return code, time.monotonic() - sent


@pytest.fixture
def start(graph: Any) -> Iterator[Callable[..., Process]]:
    processes: list[Process] = []

    def start_process(*arguments: str) -> Process:
        processes.append(Process(list(arguments), graph.domain))
        return processes[-1]

    yield start_process
    for process in processes:
        process.popen.kill()
        process.popen.wait()


@pytest.fixture
def client(vla: Callable[..., VLA]) -> Iterator[Callable[..., GoalClient]]:
    """Connect an action client to a node, ``client(node)``; without one, start one."""
    created: list[GoalClient] = []

    def create(node: VLA | None = None) -> GoalClient:
        created.append(GoalClient(node or vla()))
        return created[-1]

    yield create
    for each in created:
        each.close()


@pytest.fixture
def simulated(vla: Callable[..., VLA], graph: Any) -> tuple[VLA, SimulatedClock]:
    """An active node on simulated time, and the clock that tells it."""
    return vla(parameters={"use_sim_time": True, "watchdog.timeout": 5.0}), SimulatedClock(graph)
