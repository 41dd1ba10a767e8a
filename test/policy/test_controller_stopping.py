"""When a controller stops the arm, and what it says then."""

from __future__ import annotations

import pytest
from controlled import MS, START, Recording, acted, make, picture, step

from robovlms_ros.policy.decision import ControlSettings, Hold, Request


@pytest.fixture
def policy() -> Recording:
    return Recording()


def test_the_watchdog_stops_the_arm_once_and_holds_the_gripper(policy: Recording) -> None:
    controller = make(policy, ControlSettings(watchdog_ns=1000 * MS))
    last = acted(step(controller, START, now=START))
    assert controller.watchdog(START + 1000 * MS) is None
    stop = acted(controller.watchdog(START + 1001 * MS))
    assert stop.stop
    assert not stop.action[:6].any()
    assert stop.action[6] == last.action[6]
    assert (stop.sequence, stop.stamp_ns) == (1, START + 1001 * MS)
    assert controller.watchdog(START + 9000 * MS) is None
    assert controller.counts["watchdog stop"] == 1


def test_the_watchdog_is_rearmed_by_the_next_action(policy: Recording) -> None:
    controller = make(policy, ControlSettings(watchdog_ns=1000 * MS))
    for start in (START, START + 5000 * MS):
        acted(step(controller, start, now=start))
        acted(controller.watchdog(start + 1001 * MS))


def test_the_watchdog_is_disarmed_by_a_clock_jump(policy: Recording) -> None:
    controller = make(policy)
    acted(step(controller, START))
    assert controller.watchdog(START - 60_000 * MS) is None
    assert controller.watchdog(START - 30_000 * MS) is None


def test_the_watchdog_can_be_switched_off(policy: Recording) -> None:
    controller = make(policy, ControlSettings(watchdog_ns=0))
    acted(step(controller, START))
    assert controller.watchdog(START + 10**15) is None


def test_an_arm_that_was_never_moved_is_never_stopped(policy: Recording) -> None:
    controller = make(policy)
    assert controller.stop(START) is None
    assert controller.watchdog(START + 10**12) is None


def test_a_stop_action_is_part_of_the_history(policy: Recording) -> None:
    controller = make(policy)
    acted(step(controller, START))
    acted(controller.stop(START + 10 * MS))
    assert acted(step(controller, START + 33 * MS)).sequence == 2
    assert policy.seen[-1].history.valid.sum() == 2  # type: ignore[union-attr]


@pytest.mark.parametrize(("took", "used"), [(1000 * MS, True), (1001 * MS, False)])
def test_the_answer_of_an_inference_that_hung_is_thrown_away(policy: Recording, took: int, used: bool) -> None:
    controller = make(policy, ControlSettings(inference_timeout_ns=1000 * MS))
    controller.offer("static", picture(START), START + 30 * MS)
    request = controller.plan(START + 30 * MS)
    assert isinstance(request, Request)
    result = controller.commit(request, controller.infer(request), START + 30 * MS + took)
    assert (result is Hold.HUNG) == (not used)
    assert controller.counts["answer of a hung inference"] == (not used)
    assert controller.sequence == used


def test_without_a_timeout_a_slow_answer_is_used(policy: Recording) -> None:
    controller = make(policy, ControlSettings(inference_timeout_ns=0))
    controller.offer("static", picture(START), START)
    request = controller.plan(START)
    assert isinstance(request, Request)
    acted(controller.commit(request, controller.infer(request), START + 10**12))
