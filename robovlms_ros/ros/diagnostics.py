"""What `/diagnostics` says once a second: measurements, and how they become a status."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from numpy.typing import NDArray
from rclpy.node import Node

from robovlms_ros.ros.clock import steady_timer

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
WINDOW = 150
"""Measurements kept: five seconds of a 30 Hz camera."""


class FrameMonitor:
    """Frames of one camera: how many arrive, and how many its own stamps say there should be."""

    def __init__(self) -> None:
        self.received = 0
        self._stamps: deque[int] = deque(maxlen=WINDOW)
        self._arrival_ns: int | None = None

    def add(self, stamp_ns: int, now_ns: int) -> None:
        """Note a frame."""
        self.received += 1
        if self._stamps and stamp_ns <= self._stamps[-1]:
            self._stamps.clear()  # a jump, or a camera that repeats itself: nothing to be learned across it
        self._stamps.append(stamp_ns)
        self._arrival_ns = now_ns

    def silent_for(self, now_ns: int) -> float:
        """Seconds since the last frame; infinite before the first and after the clock jumped back."""
        if self._arrival_ns is None or now_ns < self._arrival_ns:
            return math.inf
        return (now_ns - self._arrival_ns) * 1e-9

    def rates(self) -> tuple[float, float]:
        """Frames per second that arrived, and that the camera took: the pace of its closest stamps.

        Both are 0 before there are ten frames. The second stays low where a fixed share is lost regularly.
        """
        if len(self._stamps) < 10:
            return 0.0, 0.0
        stamps = np.array(self._stamps, dtype=np.int64)
        periods: NDArray[np.float64] = np.diff(stamps - stamps[0]) * 1e-9
        return 1 / float(periods.mean()), 1 / float(np.percentile(periods, 20))


class Latencies:
    """The last times of one stage, in seconds."""

    def __init__(self) -> None:
        self._values: deque[float] = deque(maxlen=WINDOW)

    def add(self, seconds: float) -> None:
        """Note one."""
        self._values.append(seconds)

    def __len__(self) -> int:
        return len(self._values)

    def clear(self) -> None:
        """Forget all."""
        self._values.clear()

    def percentile(self, percent: float) -> float:
        """Return a percentile; 0 where nothing was measured."""
        return float(np.percentile(self._values, percent)) if self._values else 0.0

    def longest(self) -> float:
        """Return the longest; 0 where nothing was measured."""
        return max(self._values, default=0.0)


def status(
    level: bytes, name: str, message: str, hardware_id: str, values: Mapping[str, object]
) -> DiagnosticStatus:
    """Return a status; numbers that are not whole get three decimals."""
    pairs = [KeyValue(key=key, value=_text(value)) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=name, message=message, hardware_id=hardware_id, values=pairs)


@dataclass(frozen=True)
class Part:
    """What a node says about one of its parts."""

    name: str
    level: bytes
    message: str
    values: Mapping[str, object]

    def status(self, node: Node) -> DiagnosticStatus:
        """Return it as the status of a part of ``node``."""
        hardware_id = node.get_fully_qualified_name()
        return status(self.level, f"{node.get_name()}: {self.name}", self.message, hardware_id, self.values)


class DiagnosticsPublisher:
    """Publishes what ``collect()`` returns at 1 Hz, whatever the ROS clock does."""

    def __init__(self, node: Node, collect: Callable[[], Sequence[DiagnosticStatus]]) -> None:
        self._node = node
        self._collect = collect
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._timer = steady_timer(node, 1.0, self._publish)

    def _publish(self) -> None:
        message = DiagnosticArray(status=list(self._collect()))
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)


def _text(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
