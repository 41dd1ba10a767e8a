"""Plays a bag into the ROS graph at its own pace, with /clock, where `ros2 bag play` is absent."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from builtin_interfaces.msg import Time
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from robovlms_ros.replay.bag import Bag, BagError, BagMessage
from robovlms_ros.replay.bag_clock import NANOSECONDS, BagClock


class BagPlayer:
    """Publishes a bag's messages, byte for byte as recorded, when the bag's clock reaches them.

    The bag's time of reception is the clock: it is published on ``/clock`` at ``clock_rate`` Hz and once
    more right before every message, so that nodes with ``use_sim_time`` live in the bag's time. A topic with
    a single message (an instruction, a model card) is latched; all others are volatile. Both are reliable,
    which every subscription can match. Of messages of a type that this environment does not know ``unknown`` is
    told, and they are left out; without it they are an error.
    """

    def __init__(
        self,
        node: Node,
        bag: Bag,
        *,
        rate: float = 1.0,
        clock_rate: float = 100.0,
        unknown: Callable[[str, str], None] | None = None,
    ) -> None:
        self.clock = BagClock(bag.contents.start_ns, rate)
        self._bag = bag
        self._tick = 1.0 / clock_rate
        self._clock_publisher = node.create_publisher(Clock, "/clock", 10)
        self._publishers: dict[str, Any] = {}
        for topic, type_name in bag.contents.topics.items():
            try:
                kind = message_class(type_name)
            except BagError as error:
                if unknown is None:
                    raise
                unknown(topic, str(error))
                continue
            self._publishers[topic] = node.create_publisher(kind, topic, _qos(bag.contents.counts[topic]))

    @property
    def publishers(self) -> dict[str, Any]:
        """The publisher of each topic in the bag."""
        return dict(self._publishers)

    def now_ns(self) -> int:
        """The bag's time at this moment, continuous (the ticks on /clock are this value, sampled)."""
        return self.clock.now_ns

    def play(self, stop: threading.Event, start: float = 0.0, paused: bool = False) -> Iterator[BagMessage]:
        """Publish message after message from ``start`` seconds into the bag, each when it is due.

        Yield each right after it was published; of topics that are latched also those before the start, so that
        the instruction is known. Blocks between messages, and while ``clock`` is paused, which it is at the
        beginning where it should be. Setting ``stop`` ends the iteration at once.
        """
        start_ns = self._bag.contents.start_ns + round(start * NANOSECONDS)
        self.clock.set(start_ns)
        if not paused:
            self.clock.start()
        self._publish_clock(start_ns)
        latched = {topic for topic, count in self._bag.contents.counts.items() if count == 1}
        for message in self._bag.messages(set(self._publishers)):
            before = message.time_ns < start_ns
            if before and message.topic not in latched:
                continue
            # Files that overlap in time must not turn the clock back.
            due_ns = max(message.time_ns, self._published_ns)
            if not before and not self._wait_until(due_ns, stop):
                return
            self._publish_clock(start_ns if before else due_ns)
            self._publishers[message.topic].publish(message.data)
            yield message

    def run_clock(self, seconds: float, stop: threading.Event) -> None:
        """Let the bag's clock run on for ``seconds`` after the last message, for nodes that still work."""
        self._wait_until(self.now_ns() + round(seconds * self.clock.rate * NANOSECONDS), stop)

    def tick(self) -> None:
        """Tell the bag's time once more, for those who may have missed it."""
        self._publish_clock(self._published_ns)

    def _wait_until(self, due_ns: int, stop: threading.Event) -> bool:
        """Tick until the bag's clock reaches ``due_ns``; False where ``stop`` came first."""
        while (remaining_ns := due_ns - self.now_ns()) > 0:
            left = remaining_ns / NANOSECONDS / self.clock.rate if self.clock.running else self._tick
            if stop.wait(min(left, self._tick)):
                return False
            self._publish_clock(min(self.now_ns(), due_ns))
        return not stop.is_set()

    def _publish_clock(self, time_ns: int) -> None:
        self._published_ns = time_ns
        stamp = Time(sec=time_ns // NANOSECONDS, nanosec=time_ns % NANOSECONDS)
        self._clock_publisher.publish(Clock(clock=stamp))


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
