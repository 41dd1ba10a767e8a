"""What each output sends over time, under a clock that the test turns."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robovlms_ros.data.quaternions import axis_angle_to_quaternion, multiply, quaternion_to_axis_angle
from robovlms_ros.policy.arm_command import CommandError, Pose, difference
from robovlms_ros.policy.arm_outputs import (
    GripperOutput,
    GripperSettings,
    PoseOutput,
    PoseSettings,
    TwistOutput,
    TwistSettings,
)

from .arm_actions import MS, SECOND, START, play, pose

MOTION = np.array([0.02, 0, 0, 0, 0, 0.1])


def twists(settings: TwistSettings, motion: np.ndarray, step_ns: int, delay_ns: int = 0) -> list[tuple[int, Any]]:
    """Everything that is sent for one action, with times from its start."""
    output = TwistOutput(settings, Counter())
    sent = [(START, output.start(motion, step_ns, START)), *play(output, START + 1000 * SECOND, delay_ns)]
    return [(time - START, velocity) for time, velocity in sent]


def travelled(sent: list[tuple[int, Any]]) -> np.ndarray:
    """The displacement of an arm that follows each velocity until the next comes: translation, rotation vector."""
    place, turn = np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0])
    for (time, velocity), (until, _) in itertools.pairwise(sent):
        seconds = (until - time) * 1e-9
        place = place + velocity[:3] * seconds
        turn = multiply(axis_angle_to_quaternion(velocity[3:] * seconds), turn)
    return np.concatenate([place, quaternion_to_axis_angle(turn)])


motions = st.tuples(*[st.floats(-1.0, 1.0)] * 6).map(np.array).filter(lambda motion: bool(motion.any()))


@given(motions, st.integers(1, 2000), st.integers(0, 500))
def test_the_velocity_over_time_adds_up_to_the_displacement(
    motion: np.ndarray, step_ms: int, period_ms: int
) -> None:
    sent = twists(TwistSettings(period_ns=period_ms * MS), motion, step_ms * MS)
    np.testing.assert_allclose(travelled(sent), motion, atol=1e-6)
    assert sent[-1][0] == step_ms * MS
    assert not sent[-1][1].any()


@given(motions, st.integers(20, 500), st.floats(1.0, 3.0), st.integers(0, 10))
def test_a_displacement_is_never_executed_for_longer_than_its_step_times_hold(
    motion: np.ndarray, step_ms: int, hold: float, late_ms: int
) -> None:
    sent = twists(TwistSettings(hold=hold), motion, step_ms * MS, delay_ns=late_ms * MS)
    moving = [time for time, velocity in sent if velocity.any()]
    end = round(step_ms * MS * hold)
    assert max(moving) < end
    assert sent[-1][0] <= end + late_ms * MS
    assert not sent[-1][1].any()


def test_a_velocity_is_repeated_on_a_grid_and_ended_once() -> None:
    sent = twists(TwistSettings(period_ns=20 * MS), MOTION, 50 * MS)
    assert [time for time, _ in sent] == [0, 20 * MS, 40 * MS, 50 * MS]
    for _, velocity in sent[:-1]:
        np.testing.assert_allclose(velocity, [0.4, 0, 0, 0, 0, 2], atol=1e-12)


def test_without_repetition_there_is_one_velocity_and_one_end() -> None:
    sent = twists(TwistSettings(period_ns=0), MOTION, 50 * MS)
    assert [(time, bool(velocity.any())) for time, velocity in sent] == [(0, True), (50 * MS, False)]


def test_a_pause_of_the_process_is_not_made_up_for_by_a_burst() -> None:
    output = TwistOutput(TwistSettings(period_ns=20 * MS), Counter())
    output.start(MOTION, SECOND, START)
    assert output.tick(START + 500 * MS) is not None
    assert output.due_ns == START + 520 * MS


def test_the_next_action_takes_the_place_of_the_last() -> None:
    output = TwistOutput(TwistSettings(period_ns=20 * MS), Counter())
    output.start(MOTION, 100 * MS, START)
    np.testing.assert_allclose(output.start(-MOTION, 50 * MS, START + 30 * MS)[0], -0.4)
    sent = play(output, START + SECOND)
    assert [time - START for time, _ in sent] == [50 * MS, 70 * MS, 80 * MS]
    assert sent[0][1][0] < 0


def test_zero_motion_stops_at_once_and_needs_no_end() -> None:
    output = TwistOutput(TwistSettings(), Counter())
    output.start(MOTION, 100 * MS, START)
    assert not output.start(np.zeros(6), 100 * MS, START + 10 * MS).any()
    assert not output.moving
    assert output.due_ns is None
    assert output.stop() is None


def test_unitless_velocities_beyond_their_scale_are_shortened_and_counted() -> None:
    counts: Counter[str] = Counter()
    output = TwistOutput(TwistSettings(scales=(0.1, 10.0)), counts)
    np.testing.assert_allclose(output.start(MOTION, 100 * MS, START), [1, 0, 0, 0, 0, 0.1])
    assert counts == {"twist beyond its scale": 1}


class Targets:
    """A pose output with a tool that is where the test puts it."""

    def __init__(self, **settings: Any) -> None:
        self.counts: Counter[str] = Counter()
        self.output = PoseOutput(PoseSettings(**{"period_ns": 0} | settings), self.counts)

    def start(self, now_ns: int = START, motion: Any = MOTION, tool: Pose | None = None) -> Pose | None:
        if tool is not None:
            self.output.offer(tool, now_ns)
        return self.output.start("base_link", np.asarray(motion, np.float64), 100 * MS, now_ns)

    def x(self, *arguments: Any, **more: Any) -> float:
        target = self.start(*arguments, **more)
        assert target is not None
        return round(float(target.position[0]), 9)


def test_a_measured_anchor_starts_every_motion_from_the_tool() -> None:
    targets = Targets(anchor="measured")
    assert targets.x(tool=pose(0.5)) == 0.52
    assert targets.x(START + 50 * MS) == 0.52
    assert targets.x(START + 100 * MS, tool=pose(0.51)) == 0.53


def test_a_commanded_anchor_adds_up_on_the_target() -> None:
    targets = Targets(anchor="commanded")
    assert targets.x(tool=pose(0.5)) == 0.52
    assert targets.x(START + 100 * MS, tool=pose(0.503)) == 0.54
    assert targets.x(START + 200 * MS, tool=pose(0.507)) == 0.56


def test_a_blocked_arm_does_not_wind_up() -> None:
    targets = Targets(anchor="commanded", lead=(0.05, 1.0))
    reached = [targets.x(START + step * 100 * MS, tool=pose(0.5)) for step in range(6)]
    assert reached == [0.52, 0.54, 0.55, 0.55, 0.55, 0.55]
    assert targets.counts == {"target drawn back to the tool": 4}
    # Freed, it goes back from there and not from where it would be without the bound.
    assert targets.x(START + 700 * MS, motion=-MOTION, tool=pose(0.5)) == 0.53


def test_a_target_turns_no_further_ahead_than_its_bound_either() -> None:
    targets = Targets(lead=(1.0, 0.15))
    targets.start(tool=pose())
    target = targets.start(START + 100 * MS, tool=pose())
    assert target is not None
    np.testing.assert_allclose(difference(pose(), target)[3:], [0, 0, 0.15], atol=1e-9)


def test_after_a_stop_the_target_stays_and_the_next_motion_starts_from_the_tool() -> None:
    targets = Targets(anchor="commanded")
    assert targets.x(tool=pose(0.5)) == 0.52
    assert targets.x(START + 100 * MS, motion=np.zeros(6), tool=pose(0.505)) == 0.52
    # However often it is stopped, a tool that sags under its load does not draw the target down.
    assert targets.x(START + 200 * MS, motion=np.zeros(6), tool=pose(0.504)) == 0.52
    assert targets.x(START + 300 * MS, tool=pose(0.504)) == 0.524


def test_a_measured_anchor_stops_where_the_tool_is() -> None:
    targets = Targets(anchor="measured")
    targets.start(tool=pose(0.5))
    assert targets.x(START + 50 * MS, motion=np.zeros(6), tool=pose(0.508)) == 0.508


@pytest.mark.parametrize("anchor", ["measured", "commanded"])
def test_a_stop_needs_no_tool_pose_and_complains_about_nothing(anchor: Any) -> None:
    targets = Targets(anchor=anchor)
    assert targets.start(motion=np.zeros(6)) is None
    assert targets.output.problem is None
    targets.start(tool=pose(0.5))
    held = targets.start(START + SECOND, motion=np.zeros(6))
    assert (None if held is None else float(held.position[0])) == {"measured": None, "commanded": 0.52}[anchor]
    assert targets.output.problem is None


def test_a_new_episode_forgets_the_target() -> None:
    targets = Targets(anchor="commanded")
    targets.start(tool=pose(0.5))
    targets.output.reset()
    assert targets.x(START + 100 * MS, tool=pose(0.3)) == 0.32
    targets.output.reset()
    assert targets.x(START + 200 * MS, motion=np.zeros(6), tool=pose(0.3)) == 0.3


def test_the_target_goes_its_way_in_the_time_of_the_step() -> None:
    targets = Targets(period_ns=40 * MS)
    assert targets.start(tool=pose(0.5)) is None
    sent = play(targets.output, START + SECOND)
    assert [time - START for time, _ in sent] == [40 * MS, 80 * MS, 100 * MS]
    np.testing.assert_allclose([target.position[0] for _, target in sent], [0.508, 0.516, 0.52])
    np.testing.assert_allclose(difference(pose(0.5), sent[1][1])[5], 0.08)
    assert not targets.output.moving


def test_a_motion_that_comes_early_starts_from_where_the_target_is() -> None:
    targets = Targets(period_ns=40 * MS)
    targets.start(tool=pose(0.5))
    play(targets.output, START + 40 * MS)
    targets.start(START + 50 * MS)
    sent = play(targets.output, START + SECOND)
    assert round(float(sent[-1][1].position[0]), 9) == 0.528


def test_a_stop_leaves_the_target_where_it_is() -> None:
    targets = Targets(period_ns=40 * MS)
    targets.start(tool=pose(0.5))
    play(targets.output, START + 40 * MS)
    targets.output.stop()
    assert targets.output.due_ns is None
    assert targets.x(START + 50 * MS, motion=np.zeros(6)) == 0.508


def test_the_way_ends_where_the_tool_is_lost() -> None:
    targets = Targets(period_ns=50 * MS, max_age_ns=60 * MS)
    targets.start(tool=pose(0.5))
    sent = play(targets.output, START + SECOND)
    assert [target is not None for _, target in sent] == [True, False]
    assert targets.counts == {"no target: tool pose too old": 1}
    assert "0.100 s old" in str(targets.output.problem)


@pytest.mark.parametrize(
    ("tool", "stamp_ns", "kind", "says"),
    [
        (None, START, "no tool pose", "no tool pose has arrived"),
        (pose(frame="world"), START, "frames differ", "'base_link' and the tool pose in 'world'"),
        (pose(), START - 201 * MS, "tool pose too old", "0.201 s old"),
        (pose(), START + 201 * MS, "tool pose too old", "-0.201 s old"),
    ],
)
def test_without_a_pose_that_fits_there_is_no_target(tool: Any, stamp_ns: int, kind: str, says: str) -> None:
    targets = Targets()
    if tool is not None:
        targets.output.offer(tool, stamp_ns)
    with pytest.raises(CommandError, match=says) as caught:
        targets.start()
    assert caught.value.kind == kind
    assert targets.output.problem is caught.value
    targets.start(tool=pose())
    assert targets.output.problem is None


def test_a_gripper_is_told_what_changes_and_again_from_time_to_time() -> None:
    output = GripperOutput(GripperSettings(closed=(0.0,), opened=(0.04,), repeat_ns=SECOND))
    assert output.start(1.0, START) == (0.04,)
    assert output.start(1.0, START + 999 * MS) is None
    assert output.start(1.0, START + SECOND) == (0.04,)
    assert output.start(0.0, START + SECOND + MS) == (0.0,)
    assert output.positions == (0.0,)
    output.reset()
    assert output.start(0.0, START + SECOND + 2 * MS) == (0.0,)


def test_a_gripper_need_not_be_told_again() -> None:
    output = GripperOutput(GripperSettings())
    assert output.start(1.0, START) == (1.0,)
    assert output.start(1.0, START + 3600 * SECOND) is None
