"""Whether a node can run a loaded policy with its parameters. Every refusal says what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from robovlms_ros.policy.policy_loader import RobotPolicy
from robovlms_ros.policy.safety import ACTION_DIM, Limits, check_chunk
from robovlms_ros.policy.types import Observation

# Numbers of a state as the topics give it: the tool's pose and the gripper's opening.
STATE_DIM = 7
INSTEAD = "run it through the Python API (VLAPolicy) and send its actions to your robot yourself"


def needs_state(policy: RobotPolicy) -> bool:
    """Whether nothing can be inferred without the robot's state."""
    return policy.card.get("state_dim") is not None or policy.profile.predicted_in == "tool"


def check_policy(policy: RobotPolicy, values: Mapping[str, Any]) -> None:
    """Raise ValueError where the actions of ``policy`` are no arm's, or ``values`` do not give what it needs."""
    profile, width = policy.profile, policy.card.get("action_dim", ACTION_DIM)
    if profile.dimensions is not None:
        raise ValueError(
            f"the actions of this model are {', '.join(profile.dimensions)} (dimensions of its robot profile), "
            f"but the message VLAAction is the translation, rotation and gripper of an arm's tool; {INSTEAD}"
        )
    if width != ACTION_DIM:
        raise ValueError(wrong_width(width))
    if not needs_state(policy):
        return
    if values["state.source"] == "none":
        why = "moves in the tool's frame" if profile.predicted_in == "tool" else "takes the robot's state"
        raise ValueError(f"the model {why}: set state.source to topics and publish tool_pose")
    state_dim = policy.card.get("state_dim")
    if state_dim not in (None, STATE_DIM):
        raise ValueError(
            f"the model takes a state of {state_dim} numbers, the topics tool_pose and joint_states give "
            f"{STATE_DIM} (x y z, roll pitch yaw, the gripper's opening); {INSTEAD}"
        )
    if state_dim is not None and not values["state.gripper_joint"]:
        raise ValueError(
            "the model takes the gripper's opening, too: set state.gripper_joint to its joint in joint_states, "
            "and state.gripper_closed and state.gripper_open"
        )


def check_limits(limits: Limits, values: Mapping[str, Any]) -> None:
    """Raise ValueError for a workspace that nobody could hold, because the pose of the tool is not listened to."""
    if limits.workspace is not None and values["state.source"] == "none":
        raise ValueError(
            "a workspace is set (limits.workspace, or in the robot profile), which needs the tool's pose: "
            "set state.source to topics and publish tool_pose, or do without a workspace"
        )


def wrong_width(width: object) -> str:
    """Return what to do with a model whose actions are not those of an arm with a gripper."""
    return (
        f"the model predicts {width} numbers per action, but the node's message VLAAction carries {ACTION_DIM}: "
        f"translation, rotation and gripper (act_head.action_dim {ACTION_DIM} with with_gripper true); {INSTEAD}"
    )


def used_cameras(policy: RobotPolicy, values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the cameras that a step needs an image of: the policy's, without one that is switched off."""
    return tuple(camera for camera in policy.cameras if camera != "hand" or values["images.hand.enabled"])


def warm_up(policy: RobotPolicy, cameras: tuple[str, ...]) -> None:
    """Run a step on black images, so that the first real one is not slow (imports, memory), and check the result.

    Raises ValueError where it predicts something that must not become motion, and what the policy raises.
    """
    black = np.zeros((480, 640, 3), np.uint8)
    images = {camera: black if camera in cameras else None for camera in policy.cameras}
    state = np.zeros(STATE_DIM) if needs_state(policy) else None
    chunk = policy.session().step(Observation(images, "warm up", state))
    if chunk.actions.ndim == 2 and chunk.actions.shape[1] != ACTION_DIM:
        raise ValueError(wrong_width(chunk.actions.shape[1]))
    check_chunk(chunk)
