"""From a loaded policy and the parameters of a node to what runs it. The same for the node and for a replay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from robovlms_ros.policy.controller import Controller
from robovlms_ros.policy.decision import ControlSettings
from robovlms_ros.policy.parameter_tables import control_settings, sync_slop_ns
from robovlms_ros.policy.policy_fit import check_limits, needs_state, used_cameras
from robovlms_ros.policy.policy_loader import RobotPolicy
from robovlms_ros.policy.state_messages import make_states


def settings_for(policy: RobotPolicy, values: Mapping[str, Any]) -> ControlSettings:
    """Return the settings that ``values`` make. Raises ValueError where they do not fit the model."""
    profile = policy.profile
    settings = control_settings(values, profile.limits, profile.workspace)
    if not policy.card.get("action_encoder"):
        settings = replace(settings, history_wait_ns=0)  # nobody looks at what it would wait for
    check_limits(settings.limits, values)
    chunk = policy.card.get("chunk")
    if isinstance(chunk, int):
        settings.chunk.check(chunk)
    return settings


def make_controller(policy: RobotPolicy, values: Mapping[str, Any]) -> Controller:
    """Return a controller that has seen nothing yet. Raises ValueError as `settings_for` does."""
    return Controller(
        policy.session,
        policy.profile,
        used_cameras(policy, values),
        settings_for(policy, values),
        sync_slop_ns=sync_slop_ns(values),
        history_length=values["history.length"],
        internal_history=values["history.source"] == "internal",
        states=make_states(values),
        needs_state=needs_state(policy),
    )


def action_frame(policy: RobotPolicy, values: Mapping[str, Any]) -> str:
    """Return the frame of the actions: the parameter's, else the robot profile's."""
    return str(values["action_frame"] or policy.profile.frame)


def model_card(policy: RobotPolicy, values: Mapping[str, Any]) -> dict[str, object]:
    """Return what the node says about its model on ~/model_info, and a bag then holds."""
    return {
        **policy.card,
        "cameras_used": list(used_cameras(policy, values)),
        "action_frame": action_frame(policy, values),
        "rotation_format": policy.profile.rotation_format,
        "step_duration": policy.profile.step_duration,
    }
