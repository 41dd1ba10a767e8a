from __future__ import annotations

import golden_cases
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robovlms_ros.data.rotations import axis_angle_to_rpy, rpy_to_axis_angle


def rotation_matrix(rotation: np.ndarray) -> np.ndarray:
    """Rodrigues' formula."""
    angle = np.linalg.norm(rotation)
    x, y, z = rotation / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def test_the_same_rotation_as_upstreams_matrices() -> None:
    functions = golden_cases.arrays("functions")
    for euler, expected in zip(functions["euler"], functions["rotm"], strict=True):
        np.testing.assert_allclose(rotation_matrix(rpy_to_axis_angle(euler)), expected, atol=1e-9)


@given(arrays(np.float64, 3, elements=st.floats(-1.5, 1.5)))
def test_there_and_back(rpy: np.ndarray) -> None:
    np.testing.assert_allclose(axis_angle_to_rpy(rpy_to_axis_angle(rpy)), rpy, atol=1e-6)


def test_no_rotation_is_zero_and_finite() -> None:
    np.testing.assert_array_equal(rpy_to_axis_angle(np.zeros((2, 3))), np.zeros((2, 3)))
    np.testing.assert_array_equal(axis_angle_to_rpy(np.zeros(3)), np.zeros(3))
    np.testing.assert_allclose(rpy_to_axis_angle(np.full(3, 1e-14)), np.full(3, 1e-14))
