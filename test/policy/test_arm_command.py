"""Displacements, velocities, poses and finger positions as formulas: golden numbers and properties."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from robovlms_ros.data.quaternions import axis_angle_to_quaternion
from robovlms_ros.data.rotations import axis_angle_to_rpy, rpy_to_matrix
from robovlms_ros.policy.arm_command import (
    CommandError,
    check_action,
    difference,
    displacement,
    finger_positions,
    keep_near,
    limit_speed,
    make_pose,
    moved,
    rotation_vector,
    unitless,
)

from .arm_actions import action, pose

small = st.tuples(*[st.floats(-1.5, 1.5)] * 3).map(np.array)
motions = st.tuples(*[st.floats(-1.0, 1.0)] * 6).map(np.array)
INFINITE = math.inf


def matrix_of(quaternion: np.ndarray) -> np.ndarray:
    return rpy_to_matrix(axis_angle_to_rpy(2 * np.arccos(np.clip(quaternion[3], -1, 1)) * axis(quaternion)))


def axis(quaternion: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(quaternion[:3])
    return quaternion[:3] / length if length > 1e-12 else quaternion[:3]


def test_a_displacement_is_the_translation_and_axis_times_angle() -> None:
    np.testing.assert_allclose(displacement(action()), [0.02, 0, 0, 0, 0, 0.1], atol=1e-15)


def test_roll_pitch_yaw_are_one_turn_not_three() -> None:
    # A quarter turn about x and then one about z: a third of a turn about the diagonal x, y, z.
    quarter = np.pi / 2
    vector = rotation_vector(np.array([quarter, 0, quarter]), "rpy")
    np.testing.assert_allclose(vector, np.full(3, 2 * np.pi / 3 / np.sqrt(3)), atol=1e-12)
    np.testing.assert_allclose(
        rotation_vector(np.array([quarter, 0, quarter]), "axis_angle"), [quarter, 0, quarter]
    )


def test_roll_pitch_yaw_turn_the_shorter_way_round() -> None:
    vector = rotation_vector(np.array([0, 0, 1.5 * np.pi]), "rpy")
    np.testing.assert_allclose(vector, [0, 0, -np.pi / 2], atol=1e-12)


@given(small)
def test_both_rotation_formats_of_one_rotation_agree(vector: np.ndarray) -> None:
    assume(np.linalg.norm(vector) < 3.0 and abs(axis_angle_to_rpy(vector)[1]) < 1.5)
    by_rpy = rotation_vector(axis_angle_to_rpy(vector), "rpy")
    np.testing.assert_allclose(by_rpy, rotation_vector(vector, "axis_angle"), atol=1e-6)


@given(small, small, motions)
def test_a_moved_pose_is_what_rotation_matrices_give(
    place: np.ndarray, turn: np.ndarray, motion: np.ndarray
) -> None:
    start = make_pose("base_link", place, axis_angle_to_quaternion(turn))
    end = moved(start, motion)
    np.testing.assert_allclose(end.position, place + motion[:3], atol=1e-12)
    expected = matrix_of(axis_angle_to_quaternion(motion[3:])) @ matrix_of(start.quaternion)
    np.testing.assert_allclose(matrix_of(end.quaternion), expected, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(end.quaternion), 1, atol=1e-12)


@given(small, small, motions)
def test_the_difference_of_two_poses_leads_from_one_to_the_other(
    place: np.ndarray, turn: np.ndarray, motion: np.ndarray
) -> None:
    start = make_pose("base_link", place, axis_angle_to_quaternion(turn))
    np.testing.assert_allclose(difference(start, moved(start, motion)), motion, atol=1e-7)


def test_an_absolute_action_is_a_displacement_from_where_the_tool_is() -> None:
    asked = action(absolute=True, translation=[0.5, 0, 0.3], rotation=[0, 0, np.pi / 2])
    motion = displacement(asked, pose(0.4, 0, 0.3))
    np.testing.assert_allclose(motion, [0.1, 0, 0, 0, 0, np.pi / 2], atol=1e-12)
    with pytest.raises(ValueError, match="pose of the tool"):
        displacement(asked)


def test_speed_is_limited_with_the_direction_kept() -> None:
    motion = np.array([0.03, 0.04, 0.0, 0.0, 0.0, 0.2])
    limited, changed = limit_speed(motion, 0.1, linear=0.25, angular=INFINITE)
    np.testing.assert_allclose(limited, [0.015, 0.02, 0, 0, 0, 0.2], atol=1e-15)
    assert changed
    limited, changed = limit_speed(motion, 0.1, linear=0.5, angular=2.0)
    np.testing.assert_allclose(limited, motion, atol=1e-15)
    assert not changed


def test_a_huge_motion_is_limited_or_refused_but_never_infinite() -> None:
    motion = np.array([1e300, 1e300, 0, 0, 0, -1e300])
    limited, _ = limit_speed(motion, 1e-9, linear=0.25, angular=1.0)
    np.testing.assert_allclose(np.linalg.norm(limited.reshape(2, 3) / 1e-9, axis=1), [0.25, 1.0], rtol=1e-9)
    with pytest.raises(CommandError, match="no finite velocity"):
        limit_speed(motion, 1e-9, INFINITE, INFINITE)
    with pytest.raises(CommandError, match="no finite pose"):
        moved(pose(), motion)


@pytest.mark.parametrize(
    ("velocity", "expected", "shortened"),
    [
        ([0.2, 0, 0, 0, 0, 0.4], [0.5, 0, 0, 0, 0, 0.5], False),
        ([0.4, 0, 0, 0, 0.8, 0], [1, 0, 0, 0, 1, 0], False),
        ([0.8, 0.4, 0, 0, 0, -1.6], [1, 0.5, 0, 0, 0, -1], True),
    ],
)
def test_unitless_twists_are_shares_of_the_scale_and_never_beyond_one(
    velocity: list[float], expected: list[float], shortened: bool
) -> None:
    numbers, changed = unitless(np.array(velocity), linear_scale=0.4, angular_scale=0.8)
    np.testing.assert_allclose(numbers, expected, atol=1e-15)
    assert changed is shortened


@given(motions, st.floats(0.01, 0.5), st.floats(0.01, 0.5))
def test_a_target_is_never_further_from_the_tool_than_allowed(
    motion: np.ndarray, translation: float, rotation: float
) -> None:
    near, drawn = keep_near(moved(pose(), motion), pose(), translation, rotation)
    offset = difference(pose(), near)
    assert np.linalg.norm(offset[:3]) <= translation + 1e-9
    assert np.linalg.norm(offset[3:]) <= rotation + 1e-7
    beyond = np.linalg.norm(motion[:3]) > translation or np.linalg.norm(motion[3:]) > rotation
    assert drawn or not beyond


@pytest.mark.parametrize(("opening", "expected"), [(0.0, 0.8), (1.0, 0.0), (0.25, 0.6), (-3.0, 0.8), (9.0, 0.0)])
def test_fingers_move_linearly_between_their_ends_and_not_beyond(opening: float, expected: float) -> None:
    assert finger_positions(opening, closed=[0.8], opened=[0.0]) == pytest.approx((expected,))


def test_each_finger_has_ends_of_its_own() -> None:
    assert finger_positions(0.5, closed=[0.0, 0.0], opened=[0.04, -0.04]) == pytest.approx((0.02, -0.02))


@pytest.mark.parametrize(
    ("changes", "kind", "says"),
    [
        ({"translation": [np.nan, 0, 0]}, "not finite", "translation is [nan"),
        ({"rotation": [0, np.inf, 0]}, "not finite", "rotation is"),
        ({"opening": -np.inf}, "not finite", "gripper opening is -inf"),
        ({"translation": [0.0, 0.0]}, "wrong size", "translation has shape (2,)"),
        ({"rotation": [0.0] * 4}, "wrong size", "rotation has shape (4,)"),
        ({"step_ns": 0}, "no step duration", "step_duration is 0 s"),
        ({"step_ns": -1}, "no step duration", "step_duration is -1e-09 s"),
    ],
)
def test_numbers_that_must_not_reach_an_arm_are_refused(changes: dict[str, Any], kind: str, says: str) -> None:
    with pytest.raises(CommandError) as caught:
        check_action(action(**changes))
    assert caught.value.kind == kind
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("position", "quaternion", "says"),
    [
        ((np.nan, 0, 0), (0, 0, 0, 1), "not finite"),
        ((0, 0, 0), (0, 0, np.inf, 1), "not finite"),
        ((0, 0, 0), (0, 0, 0, 0), "not of length 1"),
        ((0, 0, 0), (0, 0, 1e300, 1), "not of length 1"),
    ],
)
def test_a_pose_that_is_none_is_refused(position: Any, quaternion: Any, says: str) -> None:
    with pytest.raises(CommandError, match=says):
        make_pose("base_link", position, quaternion)


def test_a_rounded_quaternion_is_made_a_rotation() -> None:
    assert make_pose("base_link", (0, 0, 0), (0, 0, 0, 0.999)).quaternion.tolist() == [0, 0, 0, 1]
