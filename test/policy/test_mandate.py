"""An instruction that must be heard again, or the arm stops: a dead man's switch."""

from __future__ import annotations

from dataclasses import replace

import pytest
from controlled import MS, START, Recording, acted, make, picture, step
from overlapped import OPEN_LOOP, labelled, overlapped

from robovlms_ros.policy.controller import Controller
from robovlms_ros.policy.decision import ControlSettings, Hold, Request

SWITCH = ControlSettings(instruction_max_age_ns=200 * MS)


@pytest.fixture
def controller() -> Controller:
    made = make(Recording(), SWITCH)
    made.hear_instruction(START)
    return made


def test_by_default_an_instruction_never_ages() -> None:
    made = make(Recording())
    made.hear_instruction(START)
    assert not made.unheard(START + 10**18)
    acted(step(made, START + 3_600_000 * MS))


def test_an_instruction_that_is_not_repeated_stops_the_arm_once(controller: Controller) -> None:
    moving = acted(step(controller, START + 195 * MS))
    assert controller.watchdog(START + 200 * MS) is None
    stop = acted(controller.watchdog(START + 201 * MS))
    assert stop.stop
    assert stop.action[6] == moving.action[6]
    assert controller.watchdog(START + 250 * MS) is None
    assert controller.counts["stale instruction"] == 1
    assert step(controller, START + 260 * MS) is Hold.UNHEARD
    assert "instruction.max_age" in Hold.UNHEARD.value


@pytest.mark.parametrize("again", ["hear", "set"])
def test_it_goes_on_in_the_same_episode_when_the_instruction_is_heard_again(
    controller: Controller, again: str
) -> None:
    acted(step(controller, START))
    acted(controller.watchdog(START + 300 * MS))
    if again == "hear":
        controller.hear_instruction(START + 900 * MS)
    else:
        assert not controller.set_instruction("pick", START + 900 * MS)
    action = acted(step(controller, START + 900 * MS))
    assert (action.episode, action.sequence) == (0, 2)


def test_an_instruction_that_is_repeated_in_time_holds(controller: Controller) -> None:
    for i in range(20):
        now = START + i * 150 * MS
        controller.hear_instruction(now)
        acted(step(controller, now))
        assert controller.watchdog(now + 149 * MS) is None


def test_a_result_that_was_inferred_through_the_silence_is_discarded(controller: Controller) -> None:
    controller.offer("static", picture(START), START)
    request = controller.plan(START)
    assert isinstance(request, Request)
    chunk = controller.infer(request)
    assert controller.commit(request, chunk, START + 201 * MS) is Hold.OBSOLETE
    controller.hear_instruction(START + 300 * MS)
    assert controller.commit(request, chunk, START + 301 * MS) is Hold.OBSOLETE


def test_a_chunk_planned_before_the_silence_does_not_go_on_after_it() -> None:
    policy = labelled(20)
    run = overlapped(policy, OPEN_LOOP)
    run.run(20)
    run.controller.hear_instruction(run.now)
    run.controller.apply(replace(run.controller.settings, instruction_max_age_ns=200 * MS))
    assert len(run.run(30)) == 7, "steps at 0, 33, ... 200 ms"
    assert len(run.stops) == 1
    known = len(policy.seen)
    run.controller.hear_instruction(run.now)
    assert run.controller.tick(run.now) is Hold.STARVED
    run.controller.apply(replace(run.controller.settings, instruction_max_age_ns=0))
    assert round(float(run.run(20)[0][1].normalized[0])) >= known


def test_after_a_clock_jump_the_age_counts_from_there(controller: Controller) -> None:
    acted(step(controller, START))
    back = START - 500_000 * MS
    acted(step(controller, back))
    assert not controller.unheard(back + 200 * MS)
    assert controller.unheard(back + 206 * MS)


def test_no_instruction_at_all_is_not_a_stale_one() -> None:
    made = Controller(Recording().session, Recording().profile, ["static"], SWITCH)
    assert step(made, START) is Hold.NO_INSTRUCTION
    made.set_instruction("", START)
    assert step(made, START + 1000 * MS) is Hold.STOPPED


def test_the_instruction_of_a_goal_must_be_repeated_too(controller: Controller) -> None:
    controller.follow("stack", at_most=100, now_ns=START)
    acted(step(controller, START + 190 * MS))
    acted(controller.watchdog(START + 201 * MS))
    assert not controller.set_instruction("stack", START + 300 * MS), "as the topic repeats it"
    assert acted(step(controller, START + 310 * MS)).episode == controller.episode
