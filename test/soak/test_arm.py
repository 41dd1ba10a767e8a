"""What the arm of the soak finds wrong with commands."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("rclpy")
from robovlms_ros.soak.arm import ANGULAR, LEAD, LINEAR, OPEN, PLACE, finger_problem, pose_problem, twist_problem

LEVEL = (0.0, 0.0, 0.0, 1.0)


def test_a_velocity_within_the_limits_is_right() -> None:
    assert twist_problem((LINEAR, 0, 0), (0, ANGULAR, 0)) == ""
    assert twist_problem((0, 0, 0), (0, 0, 0)) == ""


@pytest.mark.parametrize(
    ("linear", "angular"),
    [((LINEAR, 0.01, 0), (0, 0, 0)), ((0, 0, 0), (0, ANGULAR, 0.1)), ((math.nan, 0, 0), (0, 0, 0))],
)
def test_a_velocity_that_is_too_fast_or_no_number_is_found(
    linear: tuple[float, ...], angular: tuple[float, ...]
) -> None:
    assert twist_problem(linear, angular).startswith("a velocity is")


def test_a_target_near_the_tool_is_right_and_one_that_ran_away_is_found() -> None:
    x, y, z = PLACE
    assert pose_problem((x + LEAD, y, z), LEVEL) == ""
    assert "away from the tool" in pose_problem((x, y - LEAD - 0.001, z), LEVEL)


@pytest.mark.parametrize("quaternion", [(0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.1, 1.0), (0.0, math.inf, 0.0, 1.0)])
def test_a_rotation_that_is_none_is_found(quaternion: tuple[float, ...]) -> None:
    assert pose_problem(PLACE, quaternion)


@pytest.mark.parametrize(
    ("positions", "right"),
    [([0.0], True), ([OPEN], True), ([OPEN + 0.001], False), ([-0.001], False), ([math.nan], False), ([], False)],
)
def test_fingers_stay_within_their_stroke(positions: list[float], right: bool) -> None:
    assert (finger_problem(positions) == "") == right
