"""When a run of an instruction is over, and why, under a clock that the test turns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robovlms_ros.policy.instruction_run import InstructionRun, Termination

SECOND = 1_000_000_000
START = 1_000 * SECOND


def test_without_limits_a_run_does_not_end_by_itself() -> None:
    run = InstructionRun("pick", START)
    for number in range(1000):
        run.acted(START, START + number * SECOND)
        assert not run.observe(START + number * SECOND)
    assert run.steps == 1000
    assert run.ending is None


def test_the_last_step_is_given_its_time() -> None:
    run = InstructionRun("pick", START, max_steps=2, step_ns=100)
    run.acted(START - 7, START)
    assert not run.observe(START + 10_000)
    run.acted(START + 9_993, START + 10_000)
    assert not run.observe(START + 10_099)
    assert run.observe(START + 10_100)
    assert run.ending is not None
    assert (run.ending.reason, run.ending.steps, run.ending.elapsed_ns) == (Termination.MAX_STEPS, 2, 10_100)
    assert run.latency_ns == 7


def test_the_duration_counts_from_the_start_whether_there_are_actions_or_not() -> None:
    run = InstructionRun("pick", START, max_duration_ns=2 * SECOND, max_steps=5)
    assert not run.observe(START + 2 * SECOND - 1)
    assert run.observe(START + 2 * SECOND)
    assert run.ending is not None
    assert run.ending.reason is Termination.MAX_DURATION
    assert "2 s" in run.ending.message


def test_a_clock_that_goes_back_ends_the_run_with_the_time_until_then() -> None:
    run = InstructionRun("pick", START, max_duration_ns=SECOND)
    run.observe(START + SECOND // 2)
    assert not run.observe(START + SECOND // 2 - 50_000_000), "two threads that read the clock are no jump"
    assert run.observe(START - SECOND)
    assert run.ending is not None
    assert (run.ending.reason, run.ending.elapsed_ns) == (Termination.CLOCK_JUMP, SECOND // 2)


@given(st.lists(st.sampled_from(Termination), min_size=1))
def test_the_first_reason_counts(reasons: list[Termination]) -> None:
    run = InstructionRun("pick", START)
    first = [run.end(reason, f"number {place}", START + place) for place, reason in enumerate(reasons)]
    assert first == [True] + [False] * (len(reasons) - 1)
    assert run.ending is not None
    assert (run.ending.reason, run.ending.message, run.ending.elapsed_ns) == (reasons[0], "number 0", 0)


def test_limits_do_not_change_how_a_run_has_ended() -> None:
    run = InstructionRun("pick", START, max_duration_ns=1)
    run.end(Termination.CANCELED, "as requested", START)
    assert run.observe(START + SECOND)
    assert run.ending is not None
    assert run.ending.reason is Termination.CANCELED


@pytest.mark.parametrize("now", [START - SECOND, START])
def test_no_time_is_negative(now: int) -> None:
    assert InstructionRun("pick", START).elapsed_ns(now) == 0
