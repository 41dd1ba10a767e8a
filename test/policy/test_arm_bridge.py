"""Which actions are executed, and when the arm is stopped, under a clock that the test turns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from robovlms_ros.policy.arm_bridge import ArmBridge, BridgeSettings, Commands
from robovlms_ros.policy.arm_outputs import GripperSettings, PoseSettings, TwistSettings

from .arm_actions import MS, SECOND, START, action, play, pose

ALL = frozenset({"twist", "pose", "gripper"})


def make(**settings: Any) -> ArmBridge:
    settings.setdefault("pose", PoseSettings(period_ns=0))
    return ArmBridge(BridgeSettings(**settings))


def sent(commands: Commands) -> set[str]:
    return {name for name in ("twist", "pose", "gripper") if getattr(commands, name) is not None}


def step(number: int, **changes: Any) -> Any:
    """The ``number``-th action of an episode at 10 Hz."""
    return action(sequence=number, stamp_ns=START + number * 100 * MS - 20 * MS, **changes)


def at(number: int) -> int:
    return START + number * 100 * MS


def test_an_action_becomes_what_the_outputs_ask_for() -> None:
    bridge = make(outputs=ALL, gripper=GripperSettings((0.0,), (0.04,)))
    bridge.pose.offer(pose(0.5), START)
    commands = bridge.offer(action(), START)
    assert commands.frame == "base_link"
    assert commands.twist is not None
    assert commands.pose is not None
    np.testing.assert_allclose(commands.twist, [0.2, 0, 0, 0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(commands.pose.position, [0.52, 0, 0])
    assert commands.gripper == (0.04,)
    assert (bridge.executed, bridge.refusal, bridge.age_ns) == (1, None, 20 * MS)


@pytest.mark.parametrize("outputs", [{"twist"}, {"pose"}, {"gripper"}, {"twist", "gripper"}])
def test_only_the_outputs_asked_for_are_sent(outputs: set[str]) -> None:
    bridge = make(outputs=frozenset(outputs))
    bridge.pose.offer(pose(), START)
    assert sent(bridge.offer(action(), START)) == outputs
    assert set().union(*(sent(commands) for _, commands in play(bridge, START + 10 * SECOND))) <= outputs


def test_without_a_tool_pose_the_other_outputs_go_on() -> None:
    bridge = make(outputs=ALL)
    assert sent(bridge.offer(action(), START)) == {"twist", "gripper"}
    assert bridge.counts == {"no target: no tool pose": 1}
    assert str(bridge.pose.problem) == "no tool pose has arrived yet"
    assert bridge.refusal is None


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"stamp_ns": START - 1001 * MS}, "stale action"),
        ({"stamp_ns": 0}, "stale action"),
        ({"stamp_ns": START - 1301 * MS, "step_index": 3, "step_ns": 100 * MS}, "stale action"),
        ({"stamp_ns": START - 12 * SECOND, "step_index": 2**32 - 1}, "stale action"),
        ({"stamp_ns": START + 201 * MS}, "future stamp"),
        ({"translation": [math.nan, 0, 0]}, "not finite"),
        ({"rotation": [0, 0, -math.inf]}, "not finite"),
        ({"opening": math.nan}, "not finite"),
        ({"step_ns": 0}, "no step duration"),
        ({"step_ns": -100 * MS}, "no step duration"),
        ({"translation": [0.0] * 4}, "wrong size"),
        ({"frame": ""}, "no frame"),
        ({"absolute": True}, "absolute action"),
        ({"translation": [1e308, 0, 0], "step_ns": 1}, "not finite"),
    ],
)
def test_an_action_that_must_not_be_executed_sends_nothing_and_is_counted(
    changes: dict[str, Any], kind: str
) -> None:
    bridge = make(outputs=ALL)
    bridge.pose.offer(pose(frame="elsewhere"), START)
    assert sent(bridge.offer(action(**changes), START)) == set()
    assert bridge.counts == {kind: 1}
    assert bridge.refusal is not None
    assert bridge.refusal.kind == kind
    assert bridge.due_ns is None
    assert (bridge.received, bridge.executed) == (1, 0)
    assert sent(bridge.offer(action(sequence=1), START)) == {"twist", "gripper"}
    assert bridge.refusal is None


def test_a_later_action_of_a_chunk_is_meant_for_a_later_time() -> None:
    bridge = make()
    later = action(stamp_ns=START - 1300 * MS, step_index=3, step_ns=100 * MS)
    assert sent(bridge.offer(later, START)) >= {"twist"}
    assert not bridge.counts


def test_a_refused_action_does_not_prolong_the_last() -> None:
    bridge = make()
    bridge.offer(step(0), at(0))
    bridge.offer(step(1, translation=[math.nan, 0, 0]), at(0) + 50 * MS)
    ends = [time for time, commands in play(bridge, at(5)) if not commands.twist.any()]
    assert ends == [at(1)]


def test_before_the_clock_runs_nothing_is_executed() -> None:
    bridge = make()
    assert sent(bridge.offer(action(stamp_ns=0), 0)) == set()
    assert bridge.counts == {"no clock": 1}


def test_actions_on_the_border_of_their_age_are_executed() -> None:
    bridge = make(max_age_ns=SECOND, future_tolerance_ns=200 * MS)
    bridge.offer(action(stamp_ns=START - SECOND), START)
    bridge.offer(action(stamp_ns=START + 200 * MS, sequence=1), START)
    assert bridge.executed == 2


def test_an_absolute_action_moves_the_arm_from_where_it_is() -> None:
    bridge = make(outputs=ALL, linear=0.5)
    bridge.pose.offer(pose(0.4), START)
    commands = bridge.offer(action(absolute=True, translation=[0.41, 0, 0], rotation=[0, 0, 0]), START)
    assert commands.twist is not None
    np.testing.assert_allclose(commands.twist, [0.1, 0, 0, 0, 0, 0], atol=1e-12)
    far = bridge.offer(action(absolute=True, translation=[9, 0, 0], rotation=[0, 0, 0], sequence=1), START)
    assert far.pose is not None
    np.testing.assert_allclose(far.pose.position, [0.45, 0, 0])


def test_every_command_keeps_to_the_speed_limits() -> None:
    bridge = make(outputs=ALL, linear=0.1, angular=0.5)
    bridge.pose.offer(pose(), START)
    commands = bridge.offer(action(translation=[0.02, 0.02, 0]), START)
    assert commands.twist is not None
    assert commands.pose is not None
    np.testing.assert_allclose(commands.twist, [0.1 / math.sqrt(2)] * 2 + [0, 0, 0, 0.5], atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(commands.pose.position), 0.01)
    assert bridge.counts == {"speed limited": 1}


def test_a_stop_passes_at_once_and_needs_no_supervision() -> None:
    bridge = make()
    bridge.offer(step(0), at(0))
    stop = bridge.offer(step(1, translation=[0, 0, 0], rotation=[0, 0, 0]), at(0) + 10 * MS)
    assert stop.twist is not None
    assert not stop.twist.any()
    assert bridge.due_ns is None
    assert not bridge.moving


def test_the_watchdog_ends_a_long_motion_once_and_then_is_silent() -> None:
    bridge = make(outputs=ALL, timeout_ns=500 * MS, twist=TwistSettings(period_ns=0))
    bridge.offer(action(step_ns=60 * SECOND), START)
    assert not bridge.silent
    ended = play(bridge, START + 3600 * SECOND)
    assert [(time - START, sent(commands)) for time, commands in ended] == [(500 * MS, {"twist"})]
    assert not ended[0][1].twist.any()
    assert bridge.silent
    assert bridge.counts["watchdog stop"] == 1
    assert sent(bridge.tick(START + 7200 * SECOND)) == set()
    assert (
        bridge.offer(action(stamp_ns=START + 7200 * SECOND, sequence=1), START + 7200 * SECOND).twist is not None
    )
    assert not bridge.silent


def test_a_motion_that_has_ended_by_itself_is_not_stopped_again() -> None:
    bridge = make(timeout_ns=500 * MS, twist=TwistSettings(period_ns=0))
    bridge.offer(action(), START)
    ended = play(bridge, START + SECOND)
    assert [(time - START, sent(commands)) for time, commands in ended] == [
        (100 * MS, {"twist"}),
        (500 * MS, set()),
    ]
    assert bridge.silent
    assert "watchdog stop" not in bridge.counts


def test_after_the_watchdog_the_target_starts_from_the_tool_again() -> None:
    bridge = make(outputs=frozenset({"pose"}), timeout_ns=500 * MS)
    bridge.pose.offer(pose(0.5), START)
    bridge.offer(action(), START)
    play(bridge, START + SECOND)
    bridge.pose.offer(pose(0.51), START + SECOND)
    commands = bridge.offer(action(stamp_ns=START + SECOND, sequence=1), START + SECOND)
    assert commands.pose is not None
    np.testing.assert_allclose(commands.pose.position[0], 0.53)


def test_lost_actions_are_counted_and_refused_ones_are_not_lost() -> None:
    bridge = make()
    bridge.offer(step(0), at(0))
    bridge.offer(step(3), at(3))
    assert bridge.counts == {"actions lost": 2}
    bridge.offer(step(4, opening=math.nan), at(4))
    bridge.offer(step(5), at(5))
    assert bridge.counts == {"actions lost": 2, "not finite": 1}


@pytest.mark.parametrize("late", [0, 1])
def test_an_action_that_was_overtaken_is_not_executed(late: int) -> None:
    bridge = make()
    bridge.offer(step(0), at(0))
    bridge.offer(step(1), at(1))
    assert sent(bridge.offer(step(late), at(1) + MS)) == set()
    assert bridge.counts == {"out of order": 1}


def test_a_node_that_starts_again_is_followed_though_it_counts_from_zero() -> None:
    bridge = make()
    bridge.offer(action(sequence=500), START)
    assert sent(bridge.offer(action(sequence=0, stamp_ns=START + SECOND), START + SECOND)) == {"twist"}
    assert not bridge.counts


def test_an_action_of_the_future_cannot_keep_out_those_that_follow() -> None:
    bridge = make()
    bridge.offer(action(sequence=2**63, stamp_ns=START + 3600 * SECOND), START)
    assert sent(bridge.offer(action(sequence=1), START)) == {"twist"}


def test_a_new_episode_forgets_the_target_and_says_the_gripper_again() -> None:
    bridge = make(outputs=ALL)
    bridge.pose.offer(pose(0.5), START)
    bridge.offer(action(), START)
    bridge.pose.offer(pose(0.3), START)
    assert bridge.offer(action(sequence=1), START).gripper is None
    commands = bridge.offer(action(episode=1), START)
    assert commands.pose is not None
    np.testing.assert_allclose(commands.pose.position[0], 0.32)
    assert commands.gripper == (1.0,)


def test_a_clock_that_jumps_back_stops_the_arm_and_forgets_the_past() -> None:
    bridge = make(outputs=ALL, twist=TwistSettings(period_ns=0))
    bridge.pose.offer(pose(), START)
    bridge.offer(action(sequence=7, step_ns=60 * SECOND), START)
    stopped = bridge.tick(START - SECOND)
    assert stopped.twist is not None
    assert not stopped.twist.any()
    assert bridge.counts == {"clock jump": 1}
    again = bridge.offer(action(sequence=7, stamp_ns=START - SECOND), START - SECOND)
    assert sent(again) == {"twist", "gripper"}
    assert bridge.counts["no target: no tool pose"] == 1


def test_a_jump_back_ends_motion_even_if_the_next_action_is_refused() -> None:
    bridge = make(twist=TwistSettings(period_ns=0))
    bridge.offer(action(step_ns=60 * SECOND), START)
    stopped = bridge.offer(action(sequence=1, opening=math.nan, stamp_ns=START - SECOND), START - SECOND)
    assert stopped.twist is not None
    assert not stopped.twist.any()


def test_clocks_read_in_two_places_do_not_jump() -> None:
    bridge = make()
    bridge.offer(action(), START)
    bridge.tick(START - 50 * MS)
    assert not bridge.counts


def test_a_stop_from_outside_is_one_zero_velocity() -> None:
    bridge = make()
    bridge.offer(action(), START)
    assert sent(bridge.stop()) == {"twist"}
    assert sent(bridge.stop()) == set()
    assert bridge.due_ns is None


def test_limits_may_change_between_two_actions() -> None:
    bridge = make()
    bridge.offer(step(0), at(0))
    bridge.apply(BridgeSettings(linear=0.05, twist=TwistSettings(hold=2.0)))
    commands = bridge.offer(step(1), at(1))
    assert commands.twist is not None
    np.testing.assert_allclose(commands.twist[0], 0.05)
    ends = [time for time, each in play(bridge, at(5)) if not each.twist.any()]
    assert ends == [at(3)]
