"""Diagnostics of what comes into the vla_node: cameras, the robot's state, the history of its actions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from robovlms_ros.ros.camera_input import CameraInput
from robovlms_ros.ros.diagnostics import OK, WARN, Part
from robovlms_ros.ros.state_input import StateInput
from robovlms_ros.ros.vla_runtime import VLARuntime

# Of the windows used, the share without the newest actions that is more than a slow start.
TOO_MANY_BEHIND = 0.5
WINDOWS_JUDGED = 20


def camera_part(camera: CameraInput, max_age: float, now: int) -> Part:
    """Whether the images of a camera arrive, and as many as it takes."""
    silent = camera.monitor.silent_for(now)
    received, taken = camera.monitor.rates()
    lost = max(0.0, 1 - received / taken) if taken else 0.0
    level, message = OK, "receiving"
    if not camera.monitor.received:
        level, message = WARN, f"no image on {camera.topic} yet"
        if camera.mismatched_publishers:
            message += "; a publisher with another QoS is there"
    elif silent > max_age:
        level, message = WARN, f"no image on {camera.topic} for {silent:.1f} s"
    elif lost > 0.1:
        level, message = WARN, f"{lost:.0%} of the frames do not arrive; does the camera use config/fastdds.xml?"
    values: dict[str, object] = {
        "topic": camera.topic,
        "frames received": camera.monitor.received,
        "seconds since last frame": silent,
        "rate received (Hz)": received,
        "rate by stamps (Hz)": taken,
        "share lost": lost,
        "frames without stamp": camera.unstamped,
        "publishers with incompatible QoS": camera.mismatched_publishers,
    }
    return Part(f"camera {camera.camera}", level, message, values)


def state_part(state: StateInput, max_age: float, now: int) -> Part:
    """Whether a part of the robot's state arrives."""
    silent, refused = state.silent_for(now), sum(state.refused.values())
    level, message = OK, "receiving"
    if silent > max_age:
        since = f" for {silent:.1f} s" if state.received else " yet"
        level, message = WARN, f"no {state.part} on {state.topic}{since}"
    reasons = ", ".join(sorted(state.refused))
    if silent > max_age and refused:
        message += f"; {refused} messages refused: {reasons}"
    values: dict[str, object] = {
        "topic": state.topic,
        "samples received": state.received,
        "seconds since last sample": silent,
        "messages without stamp": state.unstamped,
        "messages refused": refused,
        "refused for": reasons,
    }
    return Part(f"state {state.part}", level, message, values)


def history_part(runtime: VLARuntime, values: Mapping[str, Any]) -> Part:
    """Whether the executed actions that the model is shown are the newest."""
    used = bool(runtime.policy.card.get("action_encoder"))
    with runtime.thread.condition:
        lag = runtime.controller.history_lag
        windows, behind, rows, most = lag.windows, lag.behind, lag.rows, lag.most
    pairs: dict[str, object] = {
        "used by the model": "yes" if used else "no",
        "source": values["history.source"],
        "windows used": windows,
        "windows behind": behind,
        "rows behind": rows,
        "rows behind, most": most,
    }
    if not used:
        return Part("history", OK, "the model takes none", pairs)
    if windows >= WINDOWS_JUDGED and behind > TOO_MANY_BEHIND * windows:
        return Part("history", WARN, f"{behind} of {windows} windows lacked the newest actions", pairs)
    return Part("history", OK, "up to date" if not rows else f"{rows} actions behind", pairs)
