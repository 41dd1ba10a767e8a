from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robovlms_ros.data.quaternions import (
    axis_angle_to_quaternion,
    conjugate,
    multiply,
    quaternion_to_axis_angle,
)
from robovlms_ros.data.rotations import rpy_to_axis_angle, rpy_to_matrix

HALF = np.sqrt(0.5)
angles = st.tuples(*[st.floats(-1.5, 1.5)] * 3).map(np.array)


def matrix(quaternion: np.ndarray) -> np.ndarray:
    """Rotate the three axes one by one: q v q*."""
    columns = []
    for axis in np.eye(3):
        x1, y1, z1, w1 = quaternion
        vector = np.array([x1, y1, z1])
        turned = axis + 2 * np.cross(vector, np.cross(vector, axis) + w1 * axis)
        columns.append(turned)
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize(
    ("rotation", "quaternion"),
    [
        ([0, 0, 0], [0, 0, 0, 1]),
        ([np.pi / 2, 0, 0], [HALF, 0, 0, HALF]),
        ([0, 0, np.pi], [0, 0, 1, 0]),
        ([0, -2 * np.pi / 3, 0], [0, -np.sqrt(0.75), 0, 0.5]),
    ],
)
def test_known_rotations(rotation: list[float], quaternion: list[float]) -> None:
    np.testing.assert_allclose(axis_angle_to_quaternion(rotation), quaternion, atol=1e-15)
    np.testing.assert_allclose(quaternion_to_axis_angle(quaternion), rotation, atol=1e-15)


def test_both_signs_of_a_quaternion_are_the_same_shorter_way_round() -> None:
    quaternion = axis_angle_to_quaternion([0, 0, 1.5 * np.pi])
    for sign in (1, -1):
        np.testing.assert_allclose(quaternion_to_axis_angle(sign * quaternion), [0, 0, -np.pi / 2], atol=1e-15)


@given(angles)
def test_a_quaternion_is_the_rotation_of_its_roll_pitch_and_yaw(rpy: np.ndarray) -> None:
    quaternion = axis_angle_to_quaternion(rpy_to_axis_angle(rpy))
    np.testing.assert_allclose(matrix(quaternion), rpy_to_matrix(rpy), atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(quaternion), 1, atol=1e-12)


@given(angles, angles)
def test_products_are_rotations_one_after_the_other(first: np.ndarray, second: np.ndarray) -> None:
    product = multiply(axis_angle_to_quaternion(second), axis_angle_to_quaternion(first))
    apart = matrix(axis_angle_to_quaternion(second)) @ matrix(axis_angle_to_quaternion(first))
    np.testing.assert_allclose(matrix(product), apart, atol=1e-12)


@given(angles)
def test_the_conjugate_undoes_a_rotation(rotation: np.ndarray) -> None:
    quaternion = axis_angle_to_quaternion(rotation)
    np.testing.assert_allclose(multiply(conjugate(quaternion), quaternion), [0, 0, 0, 1], atol=1e-12)


@given(angles)
def test_axis_and_angle_survive_both_ways(rotation: np.ndarray) -> None:
    np.testing.assert_allclose(quaternion_to_axis_angle(axis_angle_to_quaternion(rotation)), rotation, atol=1e-12)
