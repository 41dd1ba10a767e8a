"""The ROS clock in nanoseconds, an alarm that goes off by it, and timers that do not depend on it."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]  # where Humble has it, too
from rclpy.node import Node
from rclpy.timer import Timer


def now_ns(node: Node) -> int:
    """Return the ROS time; 0 with use_sim_time until the first message on /clock."""
    nanoseconds: int = node.get_clock().now().nanoseconds
    return nanoseconds


def steady_timer(node: Node, period: float, callback: Callable[[], None]) -> Timer:
    """Call ``callback`` every ``period`` seconds, also while simulated time stands still.

    In a callback group of its own: lifecycle services share the default one and loading a model takes seconds.
    """
    clock = Clock(clock_type=ClockType.STEADY_TIME)
    return node.create_timer(period, callback, callback_group=MutuallyExclusiveCallbackGroup(), clock=clock)


class ControlTimer:
    """Calls ``callback`` at a period of the ROS clock that may change, in a callback group of its own.

    It rests until `set_period`. Periods that the executor misses are skipped, not made up for.
    """

    def __init__(self, node: Node, callback: Callable[[], None]) -> None:
        self._timer = node.create_timer(1.0, callback, callback_group=MutuallyExclusiveCallbackGroup())
        self._timer.cancel()

    def set_period(self, period_ns: int | None) -> None:
        """Begin to call every ``period_ns``, if that is not so already; rest for None."""
        if period_ns is None:
            self._timer.cancel()
        elif self._timer.is_canceled() or self._timer.timer_period_ns != period_ns:
            self._timer.timer_period_ns = period_ns
            self._timer.reset()

    def destroy(self, node: Node) -> None:
        """Give the timer back."""
        node.destroy_timer(self._timer)


class Alarm:
    """Calls ``callback`` once when the ROS clock reaches the time that was ``set``."""

    def __init__(self, node: Node, callback: Callable[[], None]) -> None:
        self._timer = node.create_timer(1.0, self._ring)
        self._timer.cancel()
        self._callback = callback

    def set(self, due_ns: int | None, now_ns: int) -> None:
        """Go off at ``due_ns``, or not at all with None; what was set before is forgotten."""
        if due_ns is None:
            self._timer.cancel()
            return
        self._timer.timer_period_ns = max(1, due_ns - now_ns)
        self._timer.reset()

    def _ring(self) -> None:
        self._timer.cancel()
        self._callback()
