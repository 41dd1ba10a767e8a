"""The ROS clock in nanoseconds, and timers that do not depend on it."""

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
