"""A controller that is told how many actions may answer an instruction."""

from __future__ import annotations

import numpy as np
import pytest
from controlled import MS, START, Recording, acted, make, picture, step

from robovlms_ros.policy.chunk_settings import ChunkSettings
from robovlms_ros.policy.decision import Action, ControlSettings, Hold, Request


@pytest.fixture
def policy() -> Recording:
    return Recording()


def test_no_more_actions_leave_than_were_asked_for(policy: Recording) -> None:
    controller = make(policy)
    controller.follow("push", at_most=2)
    results = [step(controller, START + number * 100 * MS) for number in range(4)]
    assert [acted(result).instruction for result in results[:2]] == ["push", "push"]
    assert results[2:] == [Hold.SPENT, Hold.SPENT]
    assert len(policy.seen) == 2
    controller.set_instruction("push")
    assert step(controller, START + 500 * MS) is Hold.SPENT, "the same instruction is the same one"
    controller.set_instruction("pick")
    assert [acted(step(controller, START + number * 100 * MS)).sequence for number in range(6, 9)] == [0, 1, 2]


def test_a_result_beyond_what_was_asked_for_is_discarded(policy: Recording) -> None:
    controller = make(policy)
    controller.follow("push", at_most=1)
    controller.offer("static", picture(START), START)
    first = controller.plan(START)
    controller.offer("static", picture(START + 100 * MS), START + 100 * MS)
    second = controller.plan(START + 100 * MS)
    assert isinstance(first, Request)
    assert isinstance(second, Request)
    acted(controller.commit(first, controller.infer(first), START + 100 * MS))
    assert controller.commit(second, controller.infer(second), START + 100 * MS) is Hold.OBSOLETE


def test_following_the_same_instruction_again_begins_an_episode(policy: Recording) -> None:
    controller = make(policy)
    acted(step(controller, START))
    controller.follow("pick")
    action = acted(step(controller, START + 100 * MS))
    assert (action.episode, action.sequence, policy.resets) == (1, 0, 2)


def test_a_chunk_on_the_schedule_ends_with_the_number_of_actions() -> None:
    policy = Recording(chunk=10)
    controller = make(policy, ControlSettings(chunk=ChunkSettings(mode="open_loop", horizon=10, overlap=True)))
    controller.follow("push", at_most=3)
    assert step(controller, START, START) is Hold.EXECUTING
    period = controller.step_ns
    ticks = [controller.tick(START + number * period) for number in range(6)]
    assert [isinstance(result, Action) for result in ticks] == [True] * 3 + [False] * 3
    assert ticks[3:] == [Hold.SPENT] * 3
    stop = controller.stop(START + 6 * period)
    assert stop is not None
    np.testing.assert_array_equal(stop.action[:6], np.zeros(6))
