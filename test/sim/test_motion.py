"""What an action does to the arm, and what it may not do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robovlms_ros.policy.robot_profile import load_profile
from robovlms_ros.sim.motion import LIMITS, OPENING_STEP, ORIENTATION, WORKSPACE, limit_action
from robovlms_ros.sim.scene import FRAME, STEP_DURATION
from robovlms_ros.sim.world import World

ACTIONS = arrays(np.float64, 7, elements=st.floats(-1, 1))


def action(*shift: float, rpy: tuple[float, float, float] = (0, 0, 0), opening: float = 1) -> np.ndarray:
    return np.array([*shift, *rpy, opening], np.float64)


@given(ACTIONS)
def test_limits_keep_the_direction_and_limiting_twice_changes_no_bit(given_action: np.ndarray) -> None:
    limited = limit_action(given_action)
    for part, limit in ((slice(3), LIMITS.translation), (slice(3, 6), LIMITS.rotation)):
        assert np.linalg.norm(limited[part]) <= limit * (1 + 1e-9)
        cross = np.cross(limited[part], given_action[part])
        np.testing.assert_allclose(cross, 0, atol=1e-12)
    assert (limit_action(limited) == limited).all()


@pytest.mark.parametrize("bad", [np.zeros(6), np.full(7, np.nan), action(np.inf, 0, 0)])
def test_what_is_no_action_moves_nothing(world: World, bad: np.ndarray) -> None:
    world.reset(0)
    before = world.physics()
    with pytest.raises(ValueError, match="7 finite numbers"):
        world.step(bad)
    assert (world.physics() == before).all()


def test_the_tool_goes_where_it_is_told_within_the_step_after(world: World) -> None:
    world.reset(0)
    before = world.state()
    # Two in the same direction: the turns about the fixed axes then add up.
    for _ in range(2):
        world.step(action(0.01, -0.015, 0.005, rpy=(0, 0, 0.1)))
    world.step(action(0, 0, 0))
    moved = world.state() - before
    np.testing.assert_allclose(moved[:3], [0.02, -0.03, 0.01], atol=5e-4)
    np.testing.assert_allclose(moved[3:6], [0, 0, 0.2], atol=5e-3)


def test_rotations_turn_about_the_axes_of_the_base(world: World) -> None:
    world.reset(0)
    world.arm.reset(np.array([0, 0, 0.2]), np.pi / 2)
    for _ in range(3):
        world.step(action(0, 0, 0, rpy=(0.1, 0, 0)))
    world.step(action(0, 0, 0))
    # Its x axis is the base's y axis, so a roll in the base is a pitch of the tool, backwards.
    np.testing.assert_allclose(world.state()[3:6], [0, -0.3, np.pi / 2], atol=1e-2)


@pytest.mark.parametrize("corner", [(-1, -1, -1), (1, 1, 1)])
def test_the_tool_stays_in_its_workspace_and_upright(world: World, corner: tuple[int, int, int]) -> None:
    world.reset(0)
    push = np.array(corner, np.float64)
    for _ in range(40):
        world.step(action(*(push * 0.03), rpy=tuple(push * 0.15)))
    state = world.state()
    assert (state[:3] >= WORKSPACE[0] - 1e-3).all()
    assert (state[:3] <= WORKSPACE[1] + 1e-3).all()
    assert (np.abs(state[3:6]) <= ORIENTATION + 2e-2).all()


def test_the_gripper_takes_its_time(world: World) -> None:
    world.reset(0)
    openings = [1.0]
    for _ in range(6):
        world.step(action(0, 0, 0, opening=0))
        openings.append(world.arm.opening)
    assert openings[-1] == pytest.approx(0, abs=0.02)
    assert (-np.diff(openings) <= OPENING_STEP + 0.02).all()
    assert (np.diff(openings) <= 1e-3).all()


def test_the_robot_profile_says_the_same() -> None:
    profile = load_profile("tabletop")
    assert profile.frame == FRAME
    assert profile.step_duration == pytest.approx(STEP_DURATION)
    assert (profile.limits.translation, profile.limits.rotation) == (LIMITS.translation, LIMITS.rotation)
    assert profile.statistics is not None
    np.testing.assert_array_equal(profile.statistics.q99, [0.03] * 3 + [0.15] * 3)
    np.testing.assert_array_equal(profile.statistics.q01, np.negative(profile.statistics.q99))
    assert profile.workspace is not None
    np.testing.assert_array_equal([profile.workspace.min, profile.workspace.max], WORKSPACE)
