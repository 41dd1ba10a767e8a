"""A private ROS domain with processes in it, a node of our own, and what one does from outside to a vla_node."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from domain_coordinator import domain_id
from lifecycle_msgs.srv import ChangeState, GetState
from numpy.typing import NDArray
from rclpy.node import Node
from std_msgs.msg import String

from robovlms_ros.ros import qos
from robovlms_ros.ros.interfaces import VLAAction
from robovlms_ros.ros.messages import to_nanoseconds
from robovlms_ros.ros.node_process import (
    NodeProcess,
    NodeProcessError,
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
# A service that we have found may not have found us yet, and after 0.1 s Fast DDS drops an answer whose reader it
# does not know. So clients are kept, and a new one waits a little.
MUTUAL = 0.3


class Graph:
    """Processes on a private domain, and ``node``, which spins in a thread."""

    def __init__(self, stack: ExitStack, name: str) -> None:
        self._stack = stack
        self.environment = private_environment(stack.enter_context(domain_id()))
        self.node: Node = stack.enter_context(spinning_node(int(self.environment["ROS_DOMAIN_ID"]), name))
        self.processes: list[NodeProcess] = []
        """Those that must not end while something is waited for."""
        self._clients: dict[str, Any] = {}

    def start(self, name: str, command: Sequence[str]) -> NodeProcess:
        """Start a process that is stopped at the end. From the main thread only."""
        process = self._stack.enter_context(node_process(name, command, self.environment, subprocess.PIPE))
        self.processes.append(process)
        return process

    def start_vla(self, *options: str, namespace: str = "", **parameters: Any) -> NodeProcess:
        """Start a vla_node with the null policy, which takes orders. Dots of a parameter are written ``__``."""
        return self.start("vla_node", scripted_command(*options, namespace=namespace, **parameters))

    def wait_until_active(self, name: str = "vla_node") -> None:
        """Wait for a lifecycle node."""
        wait_until_active(self.node, name, self.processes, START_TIMEOUT)

    def wait_for(self, condition: Callable[[], Any], failure: str, timeout: float = START_TIMEOUT) -> None:
        """Wait for a condition. Raises NodeProcessError."""
        wait_for(lambda: bool(condition()), failure, self.processes, timeout, period=0.01)

    def instruct(self, text: str, topic: str = "instruction") -> Any:
        """Publish an instruction, latched; return the publisher."""
        publisher = self.node.create_publisher(String, topic, qos.latched())
        publisher.publish(String(data=text))
        return publisher

    def listen(self, topic: str = "action", message_type: Any = VLAAction) -> Answers:
        """Collect the messages of ``topic``."""
        return Answers(self.node, topic, message_type)

    def camera(self, topic: str, rate: float) -> Camera:
        """Return a camera that somebody listens to."""
        camera = Camera(self.node, topic, rate)
        self.wait_for(lambda: camera.listeners, f"nobody listens to {topic}")
        return camera

    def between(self, work: Callable[[], Any]) -> Any:
        """Do ``work`` between two callbacks and return its result: not all of rclpy is thread-safe."""
        executor = self.node.executor
        assert executor is not None
        task: Any = executor.create_task(work)
        # Ours alone: whether a process lives has nothing to do with it.
        wait_for(task.done, "the executor did not come to it", (), CALL_TIMEOUT, period=0.01)
        return task.result()

    def call(self, service_type: Any, name: str, request: Any, timeout: float = CALL_TIMEOUT) -> Any:
        """Call a service and return its answer. Raises NodeProcessError where none comes."""
        client = self._clients.get(name) or self.node.create_client(service_type, name)
        self.wait_for(client.service_is_ready, f"there is no service {name}", timeout)
        if name not in self._clients:
            self._clients[name] = client
            time.sleep(MUTUAL)
        future = client.call_async(request)
        self.wait_for(future.done, f"{name} did not answer", timeout)
        return future.result()

    def state(self, name: str = "vla_node") -> str:
        """Return the lifecycle state of a node."""
        return str(self.call(GetState, f"{name}/get_state", GetState.Request()).current_state.label)

    def asks_for(self, transition: int, name: str = "vla_node") -> bool:
        """Ask for a transition; return whether it succeeded."""
        request = ChangeState.Request()
        request.transition.id = transition
        return bool(self.call(ChangeState, f"{name}/change_state", request).success)

    def transition(self, transition: int, name: str = "vla_node") -> None:
        """Ask for a transition and see it succeed. Raises NodeProcessError."""
        if not self.asks_for(transition, name):
            raise NodeProcessError(f"{name} refused transition {transition} in state {self.state(name)}")

    def census(self, process: NodeProcess) -> dict[str, int]:
        """Ask a scripted node what it holds."""

        def answers() -> list[dict[str, int]]:
            return [each["census"] for each in said(process.log()) if "census" in each]

        before = len(answers())
        order(process, kind="census")
        self.wait_for(lambda: len(answers()) > before, "no census came", CALL_TIMEOUT)
        return answers()[-1]


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
        return [to_nanoseconds(message.header.stamp) for message in self.messages]

    def latencies_ms(self) -> NDArray[np.float64]:
        """Return reception minus stamp in milliseconds."""
        return np.subtract(self.received_ns, self.stamps()) / 1e6


def scripted_command(*options: str, namespace: str = "", **parameters: Any) -> list[str]:
    """Return the command of a vla_node that takes orders; see `scripted_node`."""
    values = {name.replace("__", "."): value for name, value in parameters.items()}
    command = [sys.executable, "-m", "robovlms_ros.soak.scripted_node", *options, *ros_arguments(values)]
    return command + (["-r", f"__ns:={namespace}"] if namespace else [])


def order(process: NodeProcess, **fields: Any) -> None:
    """Tell a scripted node what to do."""
    if process.stdin is None:
        raise ValueError(f"{process.name} has no pipe to take orders from")
    process.stdin.write(json.dumps(fields) + "\n")
    process.stdin.flush()


@contextmanager
def private_graph(name: str) -> Iterator[Graph]:
    """Yield a graph whose processes end with it."""
    with ExitStack() as stack:
        yield Graph(stack, name)
