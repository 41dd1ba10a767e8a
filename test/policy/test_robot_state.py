from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from robovlms_ros.policy.robot_state import RobotStates, StateBuffer, StateError, gripper_opening, tool_pose

MS = 1_000_000
START = 1_000_000 * MS
IDENTITY = (0.0, 0.0, 0.0, 1.0)


def pose(x: float) -> np.ndarray:
    return tool_pose((x, 0, 0), IDENTITY)


def state_of(position: Sequence[float], quaternion: Sequence[float]) -> np.ndarray:
    """What a policy is shown of one pose."""
    states = RobotStates(["pose"], 0)
    states.offer("pose", START, tool_pose(position, quaternion))
    state = states.at(START)
    assert state is not None
    return state


# -- samples


@given(st.tuples(st.floats(-3.1, 3.1), st.floats(-1.5, 1.5), st.floats(-3.1, 3.1)), st.floats(0.995, 1.005))
def test_a_pose_is_metres_and_fixed_axis_angles(angles: tuple[float, float, float], length: float) -> None:
    quaternion = Rotation.from_euler("xyz", angles).as_quat() * length
    np.testing.assert_allclose(state_of((1, -2, 3), quaternion), [1, -2, 3, *angles], atol=1e-9)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", range(7))
def test_a_pose_with_a_number_that_is_not_finite_is_refused(bad: float, place: int) -> None:
    numbers = [0.0, 0.0, 0.0, *IDENTITY]
    numbers[place] = bad
    with pytest.raises(StateError, match="not finite"):
        tool_pose(numbers[:3], numbers[3:])


@pytest.mark.parametrize("quaternion", [(0, 0, 0, 0), (0, 0, 0, 1.02), (0.5, 0.5, 0.5, 0.4), (1e200, 0, 0, 0)])
def test_a_quaternion_that_is_no_rotation_is_refused(quaternion: tuple[float, float, float, float]) -> None:
    with pytest.raises(StateError, match="not 1"):
        tool_pose((0, 0, 0), quaternion)


@pytest.mark.parametrize(
    ("position", "closed", "opened", "opening"),
    [(0.02, 0.0, 0.04, 0.5), (0.05, 0.0, 0.04, 1.0), (-0.1, 0.0, 0.04, 0.0), (0.2, 0.8, 0.0, 0.75)],
)
def test_an_opening_is_the_fraction_between_closed_and_open(
    position: float, closed: float, opened: float, opening: float
) -> None:
    np.testing.assert_allclose(gripper_opening(position, closed, opened), [opening])


@pytest.mark.parametrize("position", [math.nan, math.inf])
def test_a_gripper_that_is_nowhere_is_refused(position: float) -> None:
    with pytest.raises(StateError, match="joint"):
        gripper_opening(position, 0.0, 1.0)


# -- in time


def test_the_sample_nearest_in_time_is_taken_within_the_bound() -> None:
    buffer = StateBuffer()
    for stamp in (0, 10, 20, 30):
        assert buffer.offer(stamp, np.array([float(stamp)])) is None

    def nearest(stamp: int) -> float | None:
        found = buffer.nearest(stamp, 5)
        return None if found is None else float(found[0])

    assert [nearest(stamp) for stamp in (-6, -5, 4, 5, 14, 30, 35, 36)] == [None, 0, 0, 10, 10, 30, 30, None]


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=40, unique=True), st.integers(0, 1000))
def test_no_other_sample_is_nearer(stamps: list[int], wanted: int) -> None:
    buffer = StateBuffer()
    for stamp in sorted(stamps):
        buffer.offer(stamp, np.array([float(stamp)]))
    found = buffer.nearest(wanted, 1000)
    assert found is not None
    assert abs(found[0] - wanted) == min(abs(stamp - wanted) for stamp in stamps)


def test_stamps_only_go_forward() -> None:
    buffer = StateBuffer()
    assert buffer.nearest(0, 10) is None
    assert buffer.offer(10, np.zeros(1)) is None
    assert buffer.offer(10, np.zeros(1)) == "duplicate state"
    assert buffer.offer(9, np.zeros(1)) == "backward state"
    assert len(buffer) == 1


def test_a_buffer_is_bounded_and_keeps_the_newest() -> None:
    buffer = StateBuffer(depth=4)
    for stamp in range(10):
        buffer.offer(stamp, np.array([float(stamp)]))
    assert len(buffer) == 4
    assert buffer.nearest(0, 5) is None
    assert buffer.nearest(0, 6) == pytest.approx([6.0])


def test_a_state_is_the_pose_and_the_opening_around_the_image() -> None:
    states = RobotStates(["pose", "gripper"], 50 * MS)
    states.offer("pose", START, pose(2))
    assert states.at(START) is None, "the gripper's is missing"
    states.offer("gripper", START + 20 * MS, np.array([0.5]))
    np.testing.assert_array_equal(states.at(START + 30 * MS), [2, 0, 0, 0, 0, 0, 0.5])
    assert states.at(START + 60 * MS) is None, "the pose is too old"
    assert states.at(START - 40 * MS) is None, "the opening is too young"


def test_without_a_gripper_a_state_is_the_pose_and_without_parts_there_is_none() -> None:
    states = RobotStates(["pose"], 50 * MS)
    assert states.at(START) is None
    states.offer("pose", START, pose(2))
    np.testing.assert_array_equal(states.at(START), [2, 0, 0, 0, 0, 0])
    assert RobotStates().at(START) is None
    assert RobotStates().position(START) is None


def test_where_the_tool_is_now_is_known_for_a_while() -> None:
    states = RobotStates(["pose"], 50 * MS)
    assert states.position(START) is None
    states.offer("pose", START, pose(1))
    states.offer("pose", START + 10 * MS, pose(2))
    np.testing.assert_array_equal(states.position(START + 60 * MS), [2, 0, 0])
    assert states.position(START + 61 * MS) is None


def test_a_clock_that_jumps_leaves_no_state_behind() -> None:
    states = RobotStates(["pose", "gripper"], 50 * MS)
    states.offer("pose", START, pose(1))
    states.offer("gripper", START, np.zeros(1))
    states.clear()
    assert states.at(START) is None
    assert states.position(START) is None
    assert states.offer("pose", START - 10 * MS, pose(1)) is None
