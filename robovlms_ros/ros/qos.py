"""One QoS profile per kind of topic, and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks


def images(reliability: str) -> QoSProfile:
    """Camera images: depth 1, because an old frame is worse than a lost one."""
    policy = ReliabilityPolicy.RELIABLE if reliability == "reliable" else ReliabilityPolicy.BEST_EFFORT
    return _profile(policy, DurabilityPolicy.VOLATILE)


def actions() -> QoSProfile:
    """Actions and histories: reliable, depth 1, because an old action in a queue is worse than a lost one."""
    return _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)


def action_listener() -> QoSProfile:
    """Actions on their way into the history, which wants each of them even after a pause of its process."""
    return _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE, depth=64)


def states() -> QoSProfile:
    """The robot's state: heard from every publisher, and not lost while a callback runs."""
    return _profile(ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE, depth=10)


def latched() -> QoSProfile:
    """State that a late joiner must see: the model card; instructions that somebody latched."""
    return _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)


def volatile() -> QoSProfile:
    """Instructions from a plain publisher: a transient-local subscription hears nothing from those."""
    return _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)


def on_mismatch(report: Callable[[], None]) -> SubscriptionEventCallbacks:
    """Call ``report`` when a publisher appears whose QoS keeps its messages from a subscription."""

    def incompatible(event: Any) -> None:
        report()

    return SubscriptionEventCallbacks(incompatible_qos=incompatible)


def on_mismatched_subscriber(report: Callable[[], None]) -> PublisherEventCallbacks:
    """Call ``report`` when a subscriber appears whose QoS keeps the messages of a publisher from it."""

    def incompatible(event: Any) -> None:
        report()

    return PublisherEventCallbacks(incompatible_qos=incompatible)


def _profile(reliability: ReliabilityPolicy, durability: DurabilityPolicy, depth: int = 1) -> QoSProfile:
    return QoSProfile(reliability=reliability, durability=durability, history=HistoryPolicy.KEEP_LAST, depth=depth)
