"""What an arm is told and how: frame, rotation format, units, gripper, limits. One YAML file per robot.

This is the only place where a model's numbers become a robot's, and back.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from robovlms_ros.data.normalization import scale_from_unit, scale_to_unit
from robovlms_ros.data.rotations import axis_angle_to_rpy, rpy_to_axis_angle
from robovlms_ros.model.config import RoboVLMConfig
from robovlms_ros.model.errors import ObservationError, ProfileError
from robovlms_ros.policy.action_range import ActionRange
from robovlms_ros.policy.gripper import ConsecutiveGripper, Gripper, StickyGripper, ThresholdGripper
from robovlms_ros.policy.share import shared_files
from robovlms_ros.policy.tool_frame import frame_to_tool, tool_to_frame

Vector3 = Annotated[list[float], Field(min_length=3, max_length=3)]
Name = Annotated[str, Field(min_length=1)]
# Pose numbers of an arm: translation x y z, then rotation roll pitch yaw.
ARM_POSE_DIM = 6


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class GripperProfile(_Section):
    """Which state machine turns open/close answers into an opening; see `robovlms_ros.policy.gripper`."""

    machine: Literal["threshold", "consecutive", "sticky"] = "threshold"
    open_after: int = Field(default=2, gt=0)
    hold_steps: int = Field(default=2, gt=0)
    initial_opening: float = Field(default=1.0, ge=0, le=1)

    def make(self) -> Gripper:
        """A gripper at the start of an episode."""
        if self.machine == "consecutive":
            return ConsecutiveGripper(self.open_after)
        if self.machine == "sticky":
            return StickyGripper(self.hold_steps, self.initial_opening)
        return ThresholdGripper()


class Statistics(_Section):
    """The 1 % and 99 % quantiles of the training actions: x y z in metres, roll pitch yaw in radians.

    For a robot with other ``dimensions`` one of each per dimension, in its own units.
    """

    q01: list[float]
    q99: list[float]

    @model_validator(mode="after")
    def _ordered(self) -> Statistics:
        if len(self.q01) != len(self.q99):
            raise ValueError("q01 and q99 must have the same length")
        bad = [i for i, (low, high) in enumerate(zip(self.q01, self.q99, strict=True)) if low >= high]
        if bad:
            raise ValueError(
                f"every q01 must be below its q99, number {bad[0]} (from 0) is not; where the data did not move, "
                "give it a small range of your own"
            )
        return self


class Units(_Section):
    """Metres and radians per unit of `ActionChunk.actions`; 1 where actions already are metres and radians."""

    translation: float = Field(default=1.0, gt=0)
    rotation: float = Field(default=1.0, gt=0)


class Limits(_Section):
    """The largest step: norms of its translation in metres and of its rotation in radians."""

    translation: float = Field(gt=0)
    rotation: float = Field(gt=0)


class Workspace(_Section):
    """A box, in metres in the profile's frame, that the tool must not leave."""

    min: Vector3
    max: Vector3

    @model_validator(mode="after")
    def _ordered(self) -> Workspace:
        if any(low >= high for low, high in zip(self.min, self.max, strict=True)):
            raise ValueError("every coordinate of min must be below that of max")
        return self


class RobotProfile(_Section):
    """One robot's action space. The model predicts roll-pitch-yaw; ``rotation_format`` is what the arm is sent.

    With ``predicted_in: tool`` the model's motions are metres and radians in the tool's own frame; they are turned
    into ``frame`` with the arm's pose, which every observation must then have as its ``state``.

    ``dimensions`` names the numbers of an action, without the gripper, of a robot that is no such arm: a mobile
    base, an arm commanded by its joints. They are passed on as they are, after the statistics.

    The profile of a loaded policy (`for_model`) also undoes the model's own normalisation.
    """

    name: str = Field(min_length=1)
    description: str = ""
    frame: str = Field(min_length=1)
    mode: Literal["delta"] = "delta"
    rotation_format: Literal["rpy", "axis_angle"]
    predicted_in: Literal["frame", "tool"] = "frame"
    step_duration: float = Field(gt=0)
    dimensions: list[Name] | None = Field(default=None, min_length=1)
    units: Units = Units()
    statistics: Statistics | None = None
    gripper: GripperProfile = GripperProfile()
    limits: Limits
    workspace: Workspace | None = None
    _range: ActionRange = PrivateAttr(default_factory=ActionRange)
    _action_scale: float = PrivateAttr(default=1.0)

    @model_validator(mode="after")
    def _consistent(self) -> RobotProfile:
        if self.statistics is not None and len(self.statistics.q01) != self.pose_dim:
            raise ValueError(f"statistics need {self.pose_dim} numbers each, they have {len(self.statistics.q01)}")
        if self.dimensions is not None and (self.rotation_format != "rpy" or self.units != Units()):
            raise ValueError("with dimensions of its own, leave rotation_format at rpy and units at 1")
        if self.dimensions is not None and self.predicted_in == "tool":
            raise ValueError("a robot with dimensions of its own has no tool; leave predicted_in at frame")
        return self

    @property
    def pose_dim(self) -> int:
        """Numbers of an action before the gripper."""
        return ARM_POSE_DIM if self.dimensions is None else len(self.dimensions)

    def for_model(self, config: RoboVLMConfig) -> RobotProfile:
        """This profile for one model's normalised actions. Raises `ProfileError` where they do not go together."""
        head = config.act_head
        if head is not None and head.pose_dim != self.pose_dim:
            named = ", ".join(self.dimensions or ("translation", "rotation"))
            raise ProfileError(
                f"the model predicts {head.action_dim} numbers per action, {head.pose_dim} beside the gripper; "
                f"robot profile {self.name!r} describes {self.pose_dim} beside it ({named}); use a profile whose "
                "'dimensions' are the model's"
            )
        if config.norm_action and config.norm_min >= config.norm_max:
            raise ProfileError(
                f"norm_min is {config.norm_min} and norm_max {config.norm_max} in the model's configuration; "
                "correct them to the range that its training data was normalised from"
            )
        if config.tcp_rel:
            raise ProfileError(
                "tcp_rel is true: this model was trained on CALVIN's actions turned into the tool's frame, which "
                "no robot profile describes; set it to false in the configuration to receive its actions as it "
                "predicts them"
            )
        bound = self.model_copy()
        bound._range = ActionRange.of_model(config)
        bound._action_scale = config.action_scale
        return bound

    def orientation(self, state: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
        """Roll, pitch and yaw in an observation's ``state``, for `denormalize`; None where they are not needed.

        ``state`` begins with the pose of the tool in ``frame``: x y z in metres, roll pitch yaw in radians. Raises
        `ObservationError` where it is needed and not there.
        """
        if self.predicted_in != "tool":
            return None
        pose = np.zeros(0) if state is None else np.asarray(state, np.float64).ravel()[:ARM_POSE_DIM]
        if len(pose) < ARM_POSE_DIM or not np.isfinite(pose).all():
            raise ObservationError(
                f"robot profile {self.name!r} turns motions of the tool into {self.frame!r}: every observation "
                f"needs a state that begins with the tool's pose (x y z in metres, roll pitch yaw in radians), "
                f"got {state}"
            )
        return pose[3:]

    def denormalize(
        self, normalized: NDArray[np.float32], orientation: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Model actions ``(..., action_dim)`` -> the robot's (robovlms.md, sections 5.2 and 6.3), gripper kept.

        ``orientation`` is what `orientation` gives. In a chunk it is exact for the first action alone.
        """
        self._check_width(normalized)
        actions, arm = np.array(normalized, dtype=np.float64), slice(self.pose_dim)
        pose = self._range.denormalize(actions[..., arm])
        if self.statistics is not None:
            pose = scale_from_unit(pose, np.array(self.statistics.q01), np.array(self.statistics.q99))
        if self.predicted_in == "tool":
            motion = tool_to_frame(pose, self._needed(orientation), self.rotation_format)
            actions[..., arm] = motion / self._per_unit(self.pose_dim)
        else:
            actions[..., arm] = pose
            if self.rotation_format == "axis_angle":
                actions[..., 3:6] = rpy_to_axis_angle(pose[..., 3:])
        actions[..., arm] *= self._action_scale
        return actions

    def normalize(
        self, actions: NDArray[np.float64], orientation: NDArray[np.float64] | None = None
    ) -> NDArray[np.float32]:
        """The inverse of `denormalize`, with the pose clipped to [-1, 1]: what an action history holds."""
        self._check_width(actions)
        normalized, arm = np.array(actions, dtype=np.float64), slice(self.pose_dim)
        pose = normalized[..., arm] / self._action_scale
        if self.predicted_in == "tool":
            motion = pose * self._per_unit(self.pose_dim)
            pose = frame_to_tool(motion, self._needed(orientation), self.rotation_format)
        elif self.rotation_format == "axis_angle":
            pose[..., 3:] = axis_angle_to_rpy(pose[..., 3:])
        if self.statistics is not None:
            pose = scale_to_unit(pose, np.array(self.statistics.q01), np.array(self.statistics.q99))
        normalized[..., arm] = np.clip(self._range.normalize(pose), -1, 1)
        return normalized.astype(np.float32)

    def to_si(self, actions: NDArray[np.float64]) -> NDArray[np.float64]:
        """The robot's actions in metres and radians; only CALVIN's are not so already."""
        return np.asarray(actions * self._per_unit(actions.shape[-1]))

    def from_si(self, actions: NDArray[np.float64]) -> NDArray[np.float64]:
        """The inverse of `to_si`."""
        return np.asarray(actions / self._per_unit(actions.shape[-1]))

    def _needed(self, orientation: NDArray[np.float64] | None) -> NDArray[np.float64]:
        if orientation is None:
            raise ProfileError(f"robot profile {self.name!r} needs the tool's orientation to turn its motions")
        return orientation

    def _check_width(self, actions: NDArray[np.generic]) -> None:
        if actions.shape[-1] not in (self.pose_dim, self.pose_dim + 1):
            raise ProfileError(
                f"actions have {actions.shape[-1]} numbers, robot profile {self.name!r} describes "
                f"{self.pose_dim} and a gripper"
            )

    def _per_unit(self, action_dim: int) -> NDArray[np.float64]:
        if self.dimensions is not None:
            return np.ones(action_dim)
        return np.array([self.units.translation] * 3 + [self.units.rotation] * 3 + [1.0])[:action_dim]


def load_profile(robot: str | Path) -> RobotProfile:
    """The profile of a robot by its name (`config/robots/NAME.yaml`) or from your own YAML file.

    Raises `ProfileError` naming the key, or the profiles that exist.
    """
    return _parse(_find(robot))


def profile_path(robot: str | Path) -> Path:
    """Where `load_profile` finds the profile."""
    return _find(robot)


def _find(robot: str | Path) -> Path:
    known = shared_files("config/robots", "*.yaml")
    if str(robot) in known:
        return known[str(robot)]
    path = Path(robot).expanduser()
    if path.is_file():
        return path
    raise ProfileError(
        f"no robot profile {str(robot)!r}; there are {', '.join(sorted(known)) or 'none installed'}, "
        "or give the path of your own YAML file"
    )


def _parse(path: Path) -> RobotProfile:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ProfileError(f"robot profile {path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ProfileError(f"robot profile {path} must map keys to values, like those in config/robots")
    try:
        return RobotProfile.model_validate(content)
    except ValidationError as error:
        problems = (
            f"{'.'.join(str(part) for part in problem['loc']) or 'profile'}: {problem['msg']}"
            for problem in error.errors(include_url=False)
        )
        raise ProfileError(f"robot profile {path}: {'; '.join(problems)}; correct these keys") from error
