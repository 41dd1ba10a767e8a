"""What the arm_bridge_node says about itself in `/diagnostics`. docs/arm-bridge.md explains every key."""

from __future__ import annotations

import math
from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node

from robovlms_ros.policy.arm_bridge import ArmBridge
from robovlms_ros.ros.clock import now_ns
from robovlms_ros.ros.diagnostics import ERROR, OK, WARN, status

# Everything that is counted, so that a key is there before it first happens.
REASONS = (
    "absolute action",
    "actions lost",
    "clock jump",
    "future stamp",
    "invalid tool pose",
    "no clock",
    "no frame",
    "no step duration",
    "no target: frames differ",
    "no target: no tool pose",
    "no target: not finite",
    "no target: tool pose too old",
    "not finite",
    "out of order",
    "speed limited",
    "stale action",
    "target drawn back to the tool",
    "twist beyond its scale",
    "unknown mode",
    "unknown rotation format",
    "watchdog stop",
    "wrong parameters",
    "wrong size",
)


def bridge_status(
    node: Node, bridge: ArmBridge, problem: str, sources: int, listeners: Mapping[str, int]
) -> DiagnosticStatus:
    """Return the status. ``problem``: parameters that keep it from working; ``sources``: publishers of actions."""
    now = now_ns(node)
    level, message = _state(bridge, problem, sources, listeners, now)
    newest = bridge.newest
    values: dict[str, object] = {
        "outputs": ", ".join(sorted(bridge.settings.outputs)),
        "moving": bridge.moving,
        "actions received": bridge.received,
        "actions executed": bridge.executed,
        "episode": newest.episode if newest else "none",
        "newest sequence": newest.sequence if newest else "none",
        "age of the newest executed (ms)": bridge.age_ns * 1e-6,
        "seconds since last executed": _since(bridge.executed_ns, now),
        "seconds since tool pose": _since(bridge.pose.tool_ns, now),
        "last refusal": str(bridge.refusal or "none"),
        "publishers of actions": sources,
    }
    values |= {f"subscribers of {topic}": count for topic, count in listeners.items()}
    values |= {f"count of {reason}": bridge.counts[reason] for reason in REASONS}
    return status(level, f"{node.get_name()}: commands", message, node.get_fully_qualified_name(), values)


def _state(
    bridge: ArmBridge, problem: str, sources: int, listeners: Mapping[str, int], now: int
) -> tuple[bytes, str]:
    unheard = [topic for topic, count in listeners.items() if not count]
    if problem:
        return ERROR, problem
    if now <= 0:
        return WARN, "waiting for clock"
    if sources > 1:
        return WARN, f"{sources} publishers of actions: only one may drive an arm"
    if bridge.refusal:
        return WARN, f"refused an action: {bridge.refusal}"
    if bridge.executed_ns is None:
        return OK, "waiting for actions"
    if bridge.silent:
        return WARN, f"no action for {_since(bridge.executed_ns, now):.1f} s: the arm is stopped"
    if "pose" in bridge.settings.outputs and bridge.pose.problem:
        return WARN, f"no target: {bridge.pose.problem}"
    if unheard:
        return WARN, f"nobody listens to {', '.join(unheard)}"
    return OK, "executing actions" if bridge.supervised else "stopped by an action"


def _since(then: int | None, now: int) -> float:
    return math.nan if then is None else max(0, now - then) * 1e-9
