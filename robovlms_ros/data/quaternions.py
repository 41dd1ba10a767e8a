"""Unit quaternions in the order of ROS messages, x y z w, for poses that are composed and published."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def axis_angle_to_quaternion(rotation: ArrayLike) -> Array:
    """Unit axis times angle ``(3,)`` in radians -> quaternion ``(4,)``."""
    vector = np.asarray(rotation, dtype=np.float64)
    half = float(np.linalg.norm(vector)) / 2
    # np.sinc(x) is sin(pi x) / (pi x), which is 1 at 0: no division by a small angle.
    return np.append(vector * (np.sinc(half / np.pi) / 2), np.cos(half))


def quaternion_to_axis_angle(quaternion: ArrayLike) -> Array:
    """The inverse of `axis_angle_to_quaternion`, by the shorter way round: an angle of at most pi."""
    value = np.asarray(quaternion, dtype=np.float64)
    value = -value if value[3] < 0 else value
    norm = float(np.linalg.norm(value[:3]))
    if norm < 1e-12:
        return value[:3] * 2
    return value[:3] * (2 * np.arctan2(norm, value[3]) / norm)


def multiply(second: ArrayLike, first: ArrayLike) -> Array:
    """The rotation ``first`` followed by ``second``, both about fixed axes; of length 1 again."""
    x2, y2, z2, w2 = np.asarray(second, dtype=np.float64)
    x1, y1, z1, w1 = np.asarray(first, dtype=np.float64)
    product = np.array(
        [
            w2 * x1 + x2 * w1 + y2 * z1 - z2 * y1,
            w2 * y1 - x2 * z1 + y2 * w1 + z2 * x1,
            w2 * z1 + x2 * y1 - y2 * x1 + z2 * w1,
            w2 * w1 - x2 * x1 - y2 * y1 - z2 * z1,
        ]
    )
    return product / np.linalg.norm(product)


def conjugate(quaternion: ArrayLike) -> Array:
    """The opposite rotation."""
    return np.asarray(quaternion, dtype=np.float64) * np.array([-1.0, -1.0, -1.0, 1.0])
