"""Private ROS 2 graphs for tests; where ``import golden_cases`` and ``import reference`` look."""

from __future__ import annotations

import array
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

_FOLDERS = ("golden", "model", "policy", "nodes", "sim", "data/recordings", "replay")
sys.path[:0] = [str(Path(__file__).parent / folder) for folder in _FOLDERS]

# No test may depend on being fast.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

# Tests run beside each other (and on busy machines), where the threads of one operation only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Before rclpy starts anything: nothing in a test may be seen from, or see, another machine.
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")

DEADLINE = 10.0
TABLETOP_MODEL = Path(__file__).parents[1] / "models" / "tabletop"


class Graph:
    """A private ROS 2 graph: nodes under test and one helper node, spun by one executor in a thread."""

    def __init__(self, domain: int) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        self.domain = domain
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.helper = rclpy.create_node("helper", context=self.context)
        self.executor.add_node(self.helper)
        self._nodes: list[Any] = []
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        from rclpy.executors import ExternalShutdownException

        try:
            self.executor.spin()
        except ExternalShutdownException:
            return

    def add(self, node: Any) -> Any:
        """Spin ``node``, and close and destroy it at the end."""
        self._nodes.append(node)
        self.executor.add_node(node)
        return node

    def close(self) -> None:
        self.executor.shutdown(timeout_sec=5.0)
        self._thread.join(5.0)
        for node in self._nodes:
            if hasattr(node, "close"):
                node.close()
            node.destroy_node()
        self.helper.destroy_node()
        self.context.try_shutdown()

    def wait_for(self, condition: Callable[[], Any], what: str = "", timeout: float = DEADLINE) -> Any:
        """Wait until ``condition()`` is true and return its value; fail at the deadline."""
        end = time.monotonic() + timeout
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > end:
                pytest.fail(f"not within {timeout} s: {what or 'the condition'}")
            time.sleep(0.005)

    def stays(self, condition: Callable[[], Any], seconds: float = 0.3) -> None:
        """Fail if ``condition()`` ceases to be true within ``seconds``."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert condition()
            time.sleep(0.005)

    def collect(self, message_type: Any, topic: str, qos: Any = 10) -> list[Any]:
        """Subscribe; return the list that fills with messages."""
        received: list[Any] = []
        self.helper.create_subscription(message_type, topic, received.append, qos)
        return received

    def publisher(self, message_type: Any, topic: str, qos: Any = 10, subscribers: int = 1) -> Any:
        """Create a publisher and wait until it has its subscribers."""
        publisher = self.helper.create_publisher(message_type, topic, qos)
        self.wait_for(
            lambda: publisher.get_subscription_count() >= subscribers,
            f"{topic} has {subscribers} subscriber(s)",
        )
        return publisher

    def call(self, service_type: Any, name: str, request: Any) -> Any:
        """Call a service and return its answer."""
        client = self.helper.create_client(service_type, name)
        assert client.wait_for_service(DEADLINE), f"no service {name}"
        future = client.call_async(request)
        self.wait_for(future.done, f"answer of {name}")
        self.helper.destroy_client(client)
        return future.result()

    def between(self, work: Callable[[], Any]) -> Any:
        """Do ``work`` between two callbacks and return its result: not all of rclpy is thread-safe."""
        task = self.executor.create_task(work)
        self.wait_for(task.done, "the executor's turn")
        return task.result()

    def now_ns(self) -> int:
        nanoseconds: int = self.helper.get_clock().now().nanoseconds
        return nanoseconds

    def image(self, stamp_ns: int | None = None, value: int = 0, **changes: Any) -> Any:
        """A 64x48 rgb8 image of one grey, stamped now if not told otherwise."""
        from sensor_msgs.msg import Image

        from robovlms_ros.ros.messages import to_time

        message = Image(height=48, width=64, encoding="rgb8", step=192)
        message.data = array.array("B", np.full(48 * 192, value, dtype=np.uint8).tobytes())
        message.header.stamp = to_time(self.now_ns() if stamp_ns is None else stamp_ns)
        for name, changed in changes.items():
            setattr(message, name, changed)
        return message


@pytest.fixture
def graph() -> Iterator[Graph]:
    pytest.importorskip("rclpy")
    domain_coordinator = pytest.importorskip("domain_coordinator")
    with domain_coordinator.domain_id() as domain:
        private = Graph(domain)
        try:
            yield private
        finally:
            private.close()


@pytest.fixture(scope="session")
def tabletop_model() -> Path:
    """The packed model that comes with the package."""
    return TABLETOP_MODEL
