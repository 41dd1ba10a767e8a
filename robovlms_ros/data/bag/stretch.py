"""A stretch of a recording in which step follows step: it becomes an episode once images are found for it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.data.episodes import RotationFormat
from robovlms_ros.data.rotations import axis_angle_to_rpy, rpy_to_axis_angle


@dataclass(frozen=True)
class Stretch:
    """``T`` steps with one instruction.

    Args:
        instruction: what the robot was told.
        stamps: ``(T,)`` nanoseconds at which the images of the steps were taken.
        actions: ``(T, 7)`` in metres, radians and gripper opening.
        step_duration: seconds.
        frame: the frame of the actions.
        rotation_format: how their rotations are written.
        exact: ``(T,)``, True where an image counts only if it has exactly this stamp.
        faults: steps that cannot be used, with the reason.
    """

    instruction: str
    stamps: NDArray[np.int64]
    actions: NDArray[np.float64]
    step_duration: float
    frame: str
    rotation_format: RotationFormat
    exact: NDArray[np.bool_]
    faults: dict[int, str] = field(default_factory=dict)

    def rotations_as(self, rotation_format: RotationFormat) -> NDArray[np.float64]:
        """The actions with their rotations written in ``rotation_format``."""
        if rotation_format == self.rotation_format:
            return self.actions
        turn = rpy_to_axis_angle if rotation_format == "axis_angle" else axis_angle_to_rpy
        return np.concatenate([self.actions[:, :3], turn(self.actions[:, 3:6]), self.actions[:, 6:]], axis=1)
