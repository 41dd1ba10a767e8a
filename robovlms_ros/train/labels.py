"""From a recorded action to what a model is to predict: the inverse of what the nodes do with its answer.

All of it goes through the robot profile, the one place that knows both sides.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.data.episodes import Episode, EpisodeSource, RotationFormat
from robovlms_ros.data.rotations import axis_angle_to_rpy, rpy_to_axis_angle
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.policy.robot_profile import RobotProfile

# `VLAAction.gripper_closed` is the opening below this.
OPEN_FROM = 0.5
# A model trained on one rate and run at another moves at another speed.
_RATE_TOLERANCE = 0.1


def check_source(source: EpisodeSource, profile: RobotProfile, frame: str | None = None) -> None:
    """Raise `ConfigError` where a recording's actions are not the robot's; ``frame`` overrides theirs."""
    found = source.frame if frame is None else frame
    if found != profile.frame:
        raise ConfigError(
            f"{source.name}: its actions are in frame {found!r}, robot profile {profile.name!r} commands in "
            f"{profile.frame!r}; choose the profile of that robot, or where both are the same frame set "
            f"data.frame to {profile.frame!r}"
        )
    if profile.predicted_in == "tool" and source.rotation_format != profile.rotation_format:
        # There a change of roll, pitch and yaw is no rotation of its own.
        raise ConfigError(
            f"{source.name}: its rotations are {source.rotation_format!r}, robot profile {profile.name!r} "
            f"commands {profile.rotation_format!r} and predicts in the tool's frame; import it in that format"
        )


def check_rate(episode: Episode, profile: RobotProfile) -> str:
    """Why an episode's rate does not fit the profile; empty where it does."""
    if abs(episode.step_duration - profile.step_duration) <= _RATE_TOLERANCE * profile.step_duration:
        return ""
    return (
        f"a step takes {episode.step_duration:.4g} s, but {profile.step_duration:.4g} s in robot profile "
        f"{profile.name!r}"
    )


def action_labels(
    actions: NDArray[np.float64],
    states: NDArray[np.float64] | None,
    rotation_format: RotationFormat,
    profile: RobotProfile,
    with_gripper: bool = True,
) -> NDArray[np.float32]:
    """Recorded actions ``(T, d)`` -> the model's, ``(T, action_dim)``: pose in [-1, 1], gripper 0 or 1 (1 = open).

    Args:
        actions: metres, radians, gripper opening in [0, 1], as in ``VLAAction``.
        states: pose of the tool beside every action, for a profile that predicts in the tool's frame.
        rotation_format: of ``actions``; where the profile has another one they are converted.
        profile: bound to the model (`RobotProfile.for_model`).
        with_gripper: whether the model predicts one.
    """
    recorded = np.array(actions, dtype=np.float64)
    if profile.dimensions is None and rotation_format != profile.rotation_format:
        convert = rpy_to_axis_angle if profile.rotation_format == "axis_angle" else axis_angle_to_rpy
        recorded[:, 3:6] = convert(recorded[:, 3:6])
    labels = _normalized(profile.from_si(recorded), states, profile)
    if not with_gripper:
        return labels[:, : profile.pose_dim]
    labels[:, -1] = labels[:, -1] >= OPEN_FROM
    return labels


def recorded_actions(
    labels: NDArray[np.float32], states: NDArray[np.float64] | None, profile: RobotProfile
) -> NDArray[np.float64]:
    """The way back: labels ``(T, action_dim)`` -> metres, radians (in the profile's format), gripper opening."""
    if profile.predicted_in != "tool":
        return profile.to_si(profile.denormalize(labels))
    turns = _turns(states, labels, profile)
    rows = [profile.denormalize(row, turn) for row, turn in zip(labels, turns, strict=True)]
    return profile.to_si(np.stack(rows))


def _normalized(
    actions: NDArray[np.float64], states: NDArray[np.float64] | None, profile: RobotProfile
) -> NDArray[np.float32]:
    if profile.predicted_in != "tool":
        return profile.normalize(actions)
    turns = _turns(states, actions, profile)
    return np.stack([profile.normalize(row, turn) for row, turn in zip(actions, turns, strict=True)])


def _turns(
    states: NDArray[np.float64] | None, rows: NDArray[np.generic], profile: RobotProfile
) -> list[NDArray[np.float64] | None]:
    """The tool's orientation before every action."""
    return [profile.orientation(None if states is None else states[step]) for step in range(len(rows))]
