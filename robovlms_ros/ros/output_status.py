"""Diagnostics of what leaves the vla_node: how long it takes, what limits do to it, and which model it is from."""

from __future__ import annotations

from robovlms_ros.policy.safety import GRIPPER, ROTATION, TRANSLATION, Limits
from robovlms_ros.ros.diagnostics import OK, WARN, Latencies, Part
from robovlms_ros.ros.timing import Timing
from robovlms_ros.ros.vla_runtime import VLARuntime

# From the image to the action, in their order; `model` is the sum of vision, language, head and what is between.
STAGES = ("wait", "decode", "preprocess", "vision", "language", "head", "model", "publish")
# Of the last actions, as many as prove something, the share limited that is no exception any more.
ACTIONS_JUDGED = 20
TOO_MANY_LIMITED = 0.5
CARD = (
    *("model_id", "backbone", "policy_head", "weights_sha256", "untrained", "cameras", "image_size", "window"),
    *("chunk", "action_encoder", "state_dim", "robot", "device", "dtype", "preprocess"),
)


def latency_part(timing: Timing) -> Part:
    """How long each stage takes, and all of them together."""
    values: dict[str, object] = _percentiles("image to action", timing.latency)
    for stage in (*STAGES, *sorted(timing.stages.keys() - set(STAGES))):
        values |= _percentiles(stage, timing.stages.get(stage, Latencies()))
    if not len(timing.latency):
        return Part("latency", OK, "nothing measured yet", values)
    p50, p95 = (timing.latency.percentile(percent) * 1e3 for percent in (50, 95))
    message = f"image to action {p50:.0f} ms, 95 % within {p95:.0f} ms"
    return Part("latency", WARN if timing.slow else OK, message, values)


def limits_part(timing: Timing, limits: Limits) -> Part:
    """How often the model asked for more than it got."""
    shares = {
        name: timing.limited(part)
        for name, part in (("translation", TRANSLATION), ("rotation", ROTATION), ("gripper", slice(GRIPPER, None)))
    }
    judged = len(timing.saturated)
    values: dict[str, object] = {
        "actions judged": judged,
        **{f"{name} limited (share)": share for name, share in shares.items()},
        "translation limit (m)": limits.translation,
        "rotation limit (rad)": limits.rotation,
        "workspace (m)": f"{limits.workspace.low} to {limits.workspace.high}" if limits.workspace else "none",
    }
    often = [name for name, share in shares.items() if judged >= ACTIONS_JUDGED and share > TOO_MANY_LIMITED]
    if often:
        return Part("limits", WARN, f"most actions are limited in {' and '.join(often)}", values)
    return Part("limits", OK, "within limits" if not any(shares.values()) else "some actions are limited", values)


def model_part(runtime: VLARuntime) -> Part:
    """The model card, and what the actions are."""
    card, space = runtime.policy.card, runtime.space
    values: dict[str, object] = {key: card.get(key, "") for key in CARD}
    values |= {
        "cameras used": ", ".join(runtime.cameras),
        "action frame": space.frame,
        "rotation format": space.rotation_format,
        "step duration (s)": space.step_duration,
    }
    if runtime.unnamed:
        return Part("model", WARN, f"{space.model_id} is the built-in one: model.path names no model", values)
    if card.get("untrained"):
        return Part("model", WARN, f"{space.model_id} has random weights: keep its actions off a robot", values)
    return Part("model", OK, space.model_id, values)


def _percentiles(stage: str, times: Latencies) -> dict[str, object]:
    measured = len(times) > 0
    return {
        f"{stage} p50 (ms)": times.percentile(50) * 1e3 if measured else float("nan"),
        f"{stage} p95 (ms)": times.percentile(95) * 1e3 if measured else float("nan"),
        f"{stage} max (ms)": times.longest() * 1e3 if measured else float("nan"),
    }
