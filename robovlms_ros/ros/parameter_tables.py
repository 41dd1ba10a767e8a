"""The parameters of each node, and the settings made from them. config/vla.yaml holds the same keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from robovlms_ros.policy.decision import ControlSettings
from robovlms_ros.policy.safety import Limits
from robovlms_ros.ros.image import THREE_CHANNEL_ORDERS
from robovlms_ros.ros.parameters import ParameterTable, Row
from robovlms_ros.ros.policy_loader import LimitPair
from robovlms_ros.ros.qos import RELIABILITIES

# fmt: off
VLA_NODE = ParameterTable([
    Row("model.path", "", "Folder of the packed model (`robovlms pack` makes one)."),
    Row("model.policy_head", "", "One of the policy heads in that folder; empty = the model's own."),
    Row("model.device", "cpu", "`cpu`, `cuda` or `cuda:N`; one that is absent is an error, never the CPU."),
    Row("model.dtype", "float32", "Arithmetic of the model.",
        choices=("float32", "bfloat16", "float16")),
    Row("model.preprocess", "fast", "`exact` repeats the training pipeline pixel for pixel, more slowly.",
        choices=("fast", "exact")),
    Row("model.allow_download", False, "Whether model.path may name a model to fetch from the network."),
    Row("images.transport", "raw", "`compressed` listens to TOPIC/compressed (JPEG or PNG) instead of TOPIC.",
        choices=("raw", "compressed")),
    Row("images.reliability", "best_effort", "`reliable` hears only publishers that are reliable, too.",
        choices=RELIABILITIES),
    Row("images.hand.enabled", True, "Whether to use the hand camera where the model takes one."),
    Row("images.three_channel_order", "bgr", "What an image with the encoding 8UC3 holds.",
        choices=THREE_CHANNEL_ORDERS),
    Row("images.max_age", 0.5, "Seconds after which an image is too old to act on.", low=0.001, high=60.0),
    Row("images.sync_slop", 0.05, "Seconds that the stamps of two images used together may differ.",
        low=0.0, high=10.0),
    Row("images.future_tolerance", 0.2, "Seconds that a stamp may lie ahead of the node's clock.",
        low=0.0, high=60.0),
    Row("enabled", True, "Whether actions are published; ~/set_enabled sets it, too.", "any time"),
    Row("rate", 0.0, "Most actions per second, paced by image stamps; 0 = one for each image.", "any time",
        low=0.0, high=1000.0),
    Row("chunk.mode", "first", "`first` runs the model for each action; `open_loop` executes chunk.horizon "
        "actions of a predicted chunk before it runs again.", "any time", choices=("first", "open_loop")),
    Row("chunk.horizon", 1, "Actions executed of each chunk in the mode `open_loop`.", "any time",
        low=1, high=1000),
    Row("limits.enabled", True, "Whether the limits below apply.", "any time"),
    Row("limits.translation", 0.0, "Longest translation of one action in metres; 0 = the robot profile's.",
        "any time", low=0.0, high=10.0),
    Row("limits.rotation", 0.0, "Largest rotation of one action in radians; 0 = the robot profile's.",
        "any time", low=0.0, high=6.2831853),
    Row("action_frame", "", "Frame of the actions; empty = the robot profile's."),
    Row("history.source", "topic", "`topic` takes the windows of action_history_node, `internal` keeps them "
        "inside this node.", choices=("topic", "internal")),
    Row("history.length", 16, "Executed actions that the model is shown, at most.", low=1, high=1024),
    Row("watchdog.timeout", 1.0, "Seconds without a new action until one stop action; 0 = never.",
        low=0.0, high=3600.0),
    Row("watchdog.inference_timeout", 10.0, "Seconds after which a running inference is reported as hung.",
        low=0.1, high=3600.0),
    Row("watchdog.max_failures", 5, "Failed inferences in a row after which the node deactivates itself.",
        low=1, high=1000),
    Row("autostart", True, "Whether the node configures and activates itself.", "at start"),
])

ACTION_HISTORY_NODE = ParameterTable([
    Row("history.length", 16, "Executed actions in a window.", "at start", low=1, high=1024),
])
# fmt: on


def control_settings(values: Mapping[str, Any], profile_limits: LimitPair) -> ControlSettings:
    """Return the settings of a control step. Raises ValueError where they contradict each other."""
    limits = Limits()
    if values["limits.enabled"]:
        limits = Limits(
            translation=values["limits.translation"] or profile_limits.translation,
            rotation=values["limits.rotation"] or profile_limits.rotation,
        )
    return ControlSettings(
        max_age_ns=_nanoseconds(values["images.max_age"]),
        future_tolerance_ns=_nanoseconds(values["images.future_tolerance"]),
        rate=values["rate"],
        execute_horizon=values["chunk.horizon"] if values["chunk.mode"] == "open_loop" else 1,
        limits=limits,
        watchdog_ns=_nanoseconds(values["watchdog.timeout"]),
        max_failures=values["watchdog.max_failures"],
        enabled=values["enabled"],
    )


def sync_slop_ns(values: Mapping[str, Any]) -> int:
    """Return the slop of two cameras in nanoseconds."""
    return _nanoseconds(values["images.sync_slop"])


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
