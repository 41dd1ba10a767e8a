"""Rotations in their four forms, and relative actions in the world's and in the tool's frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# CALVIN's relative rotations are a hundredth of the commanded number: small enough to be added as angles.
_ROTATION_SCALE = 0.01


def rpy_to_matrix(rpy: ArrayLike) -> Array:
    """Roll, pitch, yaw ``(..., 3)`` in radians -> ``Rz(yaw) Ry(pitch) Rx(roll)``, ``(..., 3, 3)``."""
    x, y, z = _axis_rotations(rpy)
    return np.asarray(z @ y @ x)


def matrix_to_rpy(matrix: ArrayLike) -> Array:
    """The inverse of `rpy_to_matrix`: roll and yaw in [-pi, pi], pitch in [-pi/2, pi/2]; yaw 0 at the poles."""
    m = np.asarray(matrix, dtype=np.float64)
    cos_pitch = np.hypot(m[..., 0, 0], m[..., 1, 0])
    pole = cos_pitch < 1e-6
    roll = np.where(pole, np.arctan2(-m[..., 1, 2], m[..., 1, 1]), np.arctan2(m[..., 2, 1], m[..., 2, 2]))
    pitch = np.arctan2(-m[..., 2, 0], cos_pitch)
    yaw = np.where(pole, 0.0, np.arctan2(m[..., 1, 0], m[..., 0, 0]))
    return np.stack([roll, pitch, yaw], axis=-1)


def rpy_to_axis_angle(rpy: Array) -> Array:
    """Fixed-axis rotations about X, then Y, then Z, ``(..., 3)`` radians -> unit axis times angle ``(..., 3)``."""
    half = np.asarray(rpy, dtype=np.float64) / 2
    (cr, cp, cy), (sr, sp, sy) = np.moveaxis(np.cos(half), -1, 0), np.moveaxis(np.sin(half), -1, 0)
    # The quaternion of Rz(yaw) Ry(pitch) Rx(roll).
    w = cr * cp * cy + sr * sp * sy
    vector = np.stack(
        [sr * cp * cy - cr * sp * sy, cr * sp * cy + sr * cp * sy, cr * cp * sy - sr * sp * cy], axis=-1
    )
    norm = np.linalg.norm(vector, axis=-1)
    angle = 2 * np.arctan2(norm, w)
    scale = np.where(norm > 1e-12, angle / np.maximum(norm, 1e-12), 2.0)
    return np.asarray(vector * scale[..., None])


def axis_angle_to_rpy(rotation: Array) -> Array:
    """The inverse of `rpy_to_axis_angle`, with pitch in [-pi/2, pi/2]."""
    rotation = np.asarray(rotation, dtype=np.float64)
    angle = np.linalg.norm(rotation, axis=-1)
    # sin(angle / 2) / angle, which tends to 1/2.
    scale = np.where(angle > 1e-12, np.sin(angle / 2) / np.maximum(angle, 1e-12), 0.5)
    w = np.cos(angle / 2)
    x, y, z = np.moveaxis(rotation * scale[..., None], -1, 0)
    roll = np.arctan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y))
    pitch = np.arcsin(np.clip(2 * (w * y - z * x), -1, 1))
    yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    return np.stack([roll, pitch, yaw], axis=-1)


def quaternion_to_matrix(quaternion: ArrayLike) -> Array:
    """Unit quaternions ``(..., 4)``, x y z w as in ROS messages -> rotation matrices ``(..., 3, 3)``."""
    x, y, z, w = np.moveaxis(np.asarray(quaternion, dtype=np.float64), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def xyz_to_matrix(angles: ArrayLike) -> Array:
    """Angles about the moving axes X, Y, Z ``(..., 3)`` in radians -> ``Rx Ry Rz``, ``(..., 3, 3)``."""
    x, y, z = _axis_rotations(angles)
    return np.asarray(x @ y @ z)


def matrix_to_xyz(matrix: ArrayLike) -> Array:
    """The inverse of `xyz_to_matrix`: the middle angle in [-pi/2, pi/2], the others in [-pi, pi]."""
    # Rx Ry Rz turned round is Rz' Ry' Rx' of the negative angles.
    return -matrix_to_rpy(np.swapaxes(np.asarray(matrix, dtype=np.float64), -1, -2))


def world_to_tool(actions: ArrayLike, orientation: ArrayLike) -> Array:
    """Relative actions of the world's frame in the frame of the tool.

    Args:
        actions: ``(..., 7)``: translation, rotation in hundredths of a radian, gripper (kept).
        orientation: ``(..., 3)``: the tool's angles in the world before the action, for `xyz_to_matrix`.
    """
    given, tool = np.asarray(actions, dtype=np.float64), np.asarray(orientation, dtype=np.float64)
    before = xyz_to_matrix(tool)
    after = xyz_to_matrix(tool + given[..., 3:6] * _ROTATION_SCALE)
    translation = (_transposed(before) @ given[..., :3, None])[..., 0]
    rotation = matrix_to_xyz(_transposed(after) @ before) / _ROTATION_SCALE
    return np.concatenate([translation, rotation, given[..., 6:]], axis=-1)


def tool_to_world(actions: ArrayLike, orientation: ArrayLike) -> Array:
    """The inverse of `world_to_tool`, with the same arguments."""
    given, tool = np.asarray(actions, dtype=np.float64), np.asarray(orientation, dtype=np.float64)
    before = xyz_to_matrix(tool)
    after = before @ _transposed(xyz_to_matrix(given[..., 3:6] * _ROTATION_SCALE))
    translation = (before @ given[..., :3, None])[..., 0]
    rotation = _wrapped(matrix_to_xyz(after) - tool) / _ROTATION_SCALE
    return np.concatenate([translation, rotation, given[..., 6:]], axis=-1)


def _axis_rotations(angles: ArrayLike) -> tuple[Array, Array, Array]:
    """Rotations about X, Y and Z, each ``(..., 3, 3)``."""
    array = np.asarray(angles, dtype=np.float64)
    rotations = []
    for axis in range(3):
        following, last = (axis + 1) % 3, (axis + 2) % 3
        cos, sin = np.cos(array[..., axis]), np.sin(array[..., axis])
        matrix = np.zeros((*array.shape, 3))
        matrix[..., axis, axis] = 1
        matrix[..., following, following] = matrix[..., last, last] = cos
        matrix[..., last, following], matrix[..., following, last] = sin, -sin
        rotations.append(matrix)
    return rotations[0], rotations[1], rotations[2]


def _transposed(matrix: Array) -> Array:
    return np.swapaxes(matrix, -1, -2)


def _wrapped(angles: Array) -> Array:
    """Angles moved by a full turn into [-pi, pi)."""
    return np.asarray((angles + np.pi) % (2 * np.pi) - np.pi)
