"""Motions in the tool's own frame, as some models predict them, in the frame that the arm is commanded in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.data.rotations import axis_angle_to_rpy, matrix_to_rpy, rpy_to_axis_angle, rpy_to_matrix

Array = NDArray[np.float64]


def tool_to_frame(pose: Array, orientation: Array, rotation_format: str) -> Array:
    """Motions ``(..., 6)``, translation and roll-pitch-yaw, of the tool's frame -> the same in the arm's frame.

    ``orientation`` is the tool's roll, pitch and yaw there before the motion, in radians. Of an ``axis_angle``
    arm the result's rotation turns about an axis in that frame. Of an ``rpy`` arm it is the *difference of the
    angles* before and after, which CALVIN's environment adds to its own (robovlms.md, section 5.2).
    """
    matrix = rpy_to_matrix(orientation)
    translation = pose[..., :3] @ matrix.T
    if rotation_format == "axis_angle":
        rotation = rpy_to_axis_angle(pose[..., 3:]) @ matrix.T
    else:
        rotation = matrix_to_rpy(matrix @ rpy_to_matrix(pose[..., 3:])) - orientation
    return np.concatenate([translation, rotation], axis=-1)


def frame_to_tool(motion: Array, orientation: Array, rotation_format: str) -> Array:
    """The inverse of `tool_to_frame`."""
    matrix = rpy_to_matrix(orientation)
    translation = motion[..., :3] @ matrix
    if rotation_format == "axis_angle":
        rotation = axis_angle_to_rpy(motion[..., 3:] @ matrix)
    else:
        rotation = matrix_to_rpy(matrix.T @ rpy_to_matrix(motion[..., 3:] + orientation))
    return np.concatenate([translation, rotation], axis=-1)
