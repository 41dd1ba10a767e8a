"""Plays a bag into the ROS graph at its own pace, with /clock, where `ros2 bag play` is absent."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Iterator
from typing import Any

from builtin_interfaces.msg import Time
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from robovlms_ros.replay.bag import Bag, BagError, BagMessage

NANOSECONDS = 1_000_000_000


class BagPlayer:
    """Publishes a bag's messages, byte for byte as recorded, when the bag's clock reaches them.

    The bag's time of reception is the clock: it is published on ``/clock`` at ``clock_rate`` Hz and once
    more right before every message, so that nodes with ``use_sim_time`` live in the bag's time. A topic with
    a single message (an instruction, a model card) is latched; all others are volatile. Both are reliable,
    which every subscription can match.
    """

    def __init__(self, node: Node, bag: Bag, *, rate: float = 1.0, clock_rate: float = 100.0) -> None:
        if not rate > 0:
            raise ValueError(f"the rate must be positive, got {rate}")
        self._bag = bag
        self._rate = rate
        self._tick_ns = round(NANOSECONDS / clock_rate)
        self._clock = node.create_publisher(Clock, "/clock", 10)
        self._publishers = {
            topic: node.create_publisher(message_class(type_name), topic, _qos(bag.contents.counts[topic]))
            for topic, type_name in bag.contents.topics.items()
        }
        self._started: float | None = None

    @property
    def publishers(self) -> dict[str, Any]:
        """The publisher of each topic in the bag."""
        return dict(self._publishers)

    def now_ns(self) -> int:
        """The bag's time at this moment, continuous (the ticks on /clock are this value, sampled)."""
        if self._started is None:
            return self._bag.contents.start_ns
        return self._bag.contents.start_ns + round((time.monotonic() - self._started) * self._rate * NANOSECONDS)

    def play(self, stop: threading.Event) -> Iterator[BagMessage]:
        """Publish message after message, each when it is due; yield each right after it was published.

        Blocks between messages. Setting ``stop`` ends the iteration at once.
        """
        self._started = time.monotonic()
        for message in self._bag.messages():
            if not self._wait_until(message.time_ns, stop):
                return
            self._publish_clock(message.time_ns)
            self._publishers[message.topic].publish(message.data)
            yield message

    def run_clock(self, seconds: float, stop: threading.Event) -> None:
        """Let the bag's clock run on for ``seconds`` after the last message, for nodes that still work."""
        self._wait_until(self.now_ns() + round(seconds * self._rate * NANOSECONDS), stop)

    def _wait_until(self, due_ns: int, stop: threading.Event) -> bool:
        """Tick until the bag's clock reaches ``due_ns``; False where ``stop`` came first."""
        while (remaining_ns := due_ns - self.now_ns()) > 0:
            if stop.wait(min(remaining_ns, self._tick_ns) / NANOSECONDS / self._rate):
                return False
            self._publish_clock(min(self.now_ns(), due_ns))
        return not stop.is_set()

    def _publish_clock(self, time_ns: int) -> None:
        stamp = Time(sec=time_ns // NANOSECONDS, nanosec=time_ns % NANOSECONDS)
        self._clock.publish(Clock(clock=stamp))


def message_class(type_name: str) -> Any:
    """The Python class of a message type such as ``sensor_msgs/msg/Image``."""
    package, _, name = type_name.rpartition("/")
    try:
        return getattr(importlib.import_module(package.replace("/", ".")), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise BagError(
            f"the bag has messages of type {type_name!r}, which this ROS environment does not know: "
            f"source the workspace that defines it"
        ) from error


def _qos(count: int) -> QoSProfile:
    latched = count == 1
    return QoSProfile(
        depth=1 if latched else 10,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )
