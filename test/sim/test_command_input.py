from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robovlms_ros.policy.arm_command import CommandError, Pose
from robovlms_ros.sim.command_input import (
    LockStepInput,
    RealTimeInput,
    check_finger,
    check_frame,
    check_velocity,
)
from robovlms_ros.sim.robot import STEP_NS, ArmCommand
from robovlms_ros.sim.scene import STEP_DURATION

FORWARD = ArmCommand(velocity=np.array([0.1, 0.0, 0.0, 0.0, 0.0, 0.5]))
MS = 1_000_000


def test_in_lock_step_a_command_is_whole_with_both_parts_in_any_order() -> None:
    for motion_first in (True, False):
        commands = LockStepInput()
        commands.expect(5)
        parts = [lambda c=commands: c.offer_motion(5, FORWARD), lambda c=commands: c.offer_finger(5, 0.04)]
        first, second = parts if motion_first else parts[::-1]
        assert first() is None
        whole = second()
        assert whole is not None
        assert whole.velocity is FORWARD.velocity
        assert whole.finger == 0.04
        assert commands.awaited_ns is None


def test_in_lock_step_a_command_for_another_image_is_none() -> None:
    commands = LockStepInput()
    with pytest.raises(CommandError, match="no image waits"):
        commands.offer_motion(5, FORWARD)
    commands.expect(5)
    commands.offer_motion(5, FORWARD)
    with pytest.raises(CommandError, match="set lock_step of arm_bridge_node"):
        commands.offer_finger(4, 0.04)
    commands.expect(6)  # what has come for 5 is forgotten
    assert commands.offer_finger(6, 0.04) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_numbers_that_are_not_finite_and_other_frames_are_refused(bad: float) -> None:
    with pytest.raises(CommandError, match="velocity"):
        check_velocity(np.array([0, 0, bad, 0, 0, 0]))
    with pytest.raises(CommandError, match="finger"):
        check_finger(bad)
    check_frame("/base_link")
    for frame in ("", "camera"):
        with pytest.raises(CommandError, match="base_link"):
            check_frame(frame)


@given(st.integers(0, 48), st.integers(1, 40))
def test_in_real_time_what_was_moved_is_what_was_told_however_steps_and_commands_interleave(
    begins: int, lasts: int
) -> None:
    commands = RealTimeInput()
    commands.offer_motion(FORWARD, begins * MS)
    moved = np.zeros(6)
    stopped = False
    for step in range(1, 4):
        now = step * STEP_NS
        if not stopped and begins * MS + lasts * MS <= now:
            commands.offer_motion(ArmCommand(velocity=np.zeros(6)), (begins + lasts) * MS)
            stopped = True
        command, _ = commands.take(now)
        assert command.velocity is not None
        moved += command.velocity * STEP_DURATION
    np.testing.assert_allclose(moved, FORWARD.velocity * lasts * 1e-3, atol=1e-12)


def test_a_velocity_that_nobody_repeats_ends() -> None:
    commands = RealTimeInput(timeout_ns=STEP_NS)
    commands.offer_motion(FORWARD, 0)
    assert commands.take(STEP_NS)[0].velocity.any()  # type: ignore[union-attr]
    assert not commands.take(2 * STEP_NS)[0].velocity.any()  # type: ignore[union-attr]


def test_a_step_that_is_late_makes_the_arm_no_faster() -> None:
    commands = RealTimeInput(timeout_ns=1000 * MS)
    commands.offer_motion(FORWARD, 0)
    velocity = commands.take(3 * STEP_NS)[0].velocity
    np.testing.assert_allclose(velocity, FORWARD.velocity)


def test_a_target_replaces_a_velocity_and_stays() -> None:
    commands = RealTimeInput()
    commands.offer_motion(FORWARD, 0)
    target = Pose("base_link", np.zeros(3), np.array([0.0, 0, 0, 1]))
    commands.offer_motion(ArmCommand(target=target), STEP_NS // 2)
    commands.offer_finger(0.01)
    for step in (1, 2):
        command, told = commands.take(step * STEP_NS)
        assert (command.target, command.velocity, command.finger, told) == (target, None, 0.01, step == 1)
