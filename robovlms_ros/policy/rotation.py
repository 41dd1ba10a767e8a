"""Small rotations in the two forms that arms take: roll-pitch-yaw and axis-angle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def rpy_to_axis_angle(rpy: NDArray[np.float64]) -> NDArray[np.float64]:
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


def axis_angle_to_rpy(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
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
