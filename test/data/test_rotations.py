from __future__ import annotations

import numpy as np
import pytest
from golden_cases import arrays
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from robovlms_ros.data.rotations import (
    matrix_to_rpy,
    matrix_to_xyz,
    quaternion_to_matrix,
    rpy_to_matrix,
    tool_to_world,
    world_to_tool,
    xyz_to_matrix,
)

GOLDEN = arrays("functions")
angle = st.floats(-3.1, 3.1)
middle = st.floats(-1.5, 1.5)
angles = st.tuples(angle, middle, angle)


def test_roll_pitch_yaw_matches_upstream() -> None:
    np.testing.assert_allclose(rpy_to_matrix(GOLDEN["euler"]), GOLDEN["rotm"], atol=1e-6)
    np.testing.assert_allclose(matrix_to_rpy(GOLDEN["rotm"]), GOLDEN["euler_back"], atol=1e-6)


def test_tool_frame_matches_upstream() -> None:
    actions, orientation = GOLDEN["w2t_action"], GOLDEN["w2t_robot"][..., 3:6]
    # Upstream computes in float32 and multiplies the angles by 100.
    np.testing.assert_allclose(world_to_tool(actions, orientation), GOLDEN["w2t_out"], atol=2e-5)
    np.testing.assert_allclose(tool_to_world(actions, orientation), GOLDEN["t2w_out_after_fix"], atol=2e-5)


@given(angles)
def test_both_conventions_are_the_usual_ones(triple: tuple[float, float, float]) -> None:
    np.testing.assert_allclose(rpy_to_matrix(triple), Rotation.from_euler("xyz", triple).as_matrix(), atol=1e-12)
    np.testing.assert_allclose(xyz_to_matrix(triple), Rotation.from_euler("XYZ", triple).as_matrix(), atol=1e-12)


@given(angles)
def test_angles_come_back(triple: tuple[float, float, float]) -> None:
    np.testing.assert_allclose(matrix_to_rpy(rpy_to_matrix(triple)), triple, atol=1e-7)
    np.testing.assert_allclose(matrix_to_xyz(xyz_to_matrix(triple)), triple, atol=1e-7)


@given(angle, st.sampled_from([-np.pi / 2, np.pi / 2]), angle)
def test_at_the_poles_the_rotation_comes_back(roll: float, pitch: float, yaw: float) -> None:
    matrix = rpy_to_matrix([roll, pitch, yaw])
    np.testing.assert_allclose(rpy_to_matrix(matrix_to_rpy(matrix)), matrix, atol=1e-6)


@given(st.tuples(*[st.floats(-1, 1)] * 7), st.tuples(angle, st.floats(-1.4, 1.4), angle))
def test_the_tool_frame_is_left_as_it_was_entered(
    action: tuple[float, ...], orientation: tuple[float, float, float]
) -> None:
    back = tool_to_world(world_to_tool(action, orientation), orientation)
    np.testing.assert_allclose(back, action, atol=1e-6)


def test_a_translation_along_the_tools_own_axis() -> None:
    action = world_to_tool([0, 1, 0, 0, 0, 0, 1], [0, 0, np.pi / 2])
    np.testing.assert_allclose(action, [1, 0, 0, 0, 0, 0, 1], atol=1e-12)


@pytest.mark.parametrize("shape", [(7,), (2, 7), (2, 3, 7)])
def test_any_number_of_actions_at_once(shape: tuple[int, ...]) -> None:
    actions = np.random.default_rng(0).uniform(-1, 1, shape)
    orientation = np.random.default_rng(1).uniform(-1, 1, (*shape[:-1], 3))
    assert world_to_tool(actions, orientation).shape == shape


@given(angles)
def test_a_quaternion_is_the_rotation_of_the_same_angles(triple: tuple[float, float, float]) -> None:
    rotation = Rotation.from_euler("xyz", triple)
    np.testing.assert_allclose(quaternion_to_matrix(rotation.as_quat()), rotation.as_matrix(), atol=1e-12)
    np.testing.assert_allclose(quaternion_to_matrix(-rotation.as_quat()), rotation.as_matrix(), atol=1e-12)


def test_many_quaternions_at_once_give_many_matrices() -> None:
    quaternions = Rotation.random(6, rng=0).as_quat().reshape(2, 3, 4)
    matrices = quaternion_to_matrix(quaternions)
    assert matrices.shape == (2, 3, 3, 3)
    np.testing.assert_allclose(matrices[1, 2], Rotation.from_quat(quaternions[1, 2]).as_matrix(), atol=1e-12)
