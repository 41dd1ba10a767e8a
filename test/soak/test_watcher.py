"""Each rule of the watcher passes what is right and finds what breaks it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from robovlms_ros.soak.watcher import GRACE_NS, SECOND, SeenAction, Watcher

MS = 1_000_000
START = 1_000 * SECOND


def action(sequence: int = 0, stamp: int | None = None, **changes: object) -> SeenAction:
    """An action that breaks no rule, 33 ms after the one before, published 10 ms after its image."""
    stamp = START + sequence * 33 * MS if stamp is None else stamp
    good = SeenAction(
        stamp_ns=stamp,
        latency_ns=10 * MS,
        translation=(0.03, 0.0, 0.04),
        rotation=(0.0, 0.1, 0.0),
        gripper=1.0,
        model_action=[0.5] * 7,
        sequence=sequence,
        episode=0,
        instruction="go",
    )
    return replace(good, **changes)  # type: ignore[arg-type]


def stop(sequence: int, stamp: int | None = None, **changes: object) -> SeenAction:
    return action(sequence, stamp, translation=(0.0, 0.0, 0.0), rotation=(0.0, 0.0, 0.0), latency_ns=0, **changes)


@pytest.fixture
def watcher() -> Watcher:
    watcher = Watcher(translation=0.05, rotation=0.1, max_age_ns=500 * MS, slack_ns=100 * MS)
    watcher.instruct("go", START - SECOND)
    for number in range(100):
        watcher.image(START + number * 33 * MS)
    return watcher


def broken(watcher: Watcher) -> list[str]:
    return sorted(watcher.counts)


def test_good_actions_break_nothing(watcher: Watcher) -> None:
    for number in range(20):
        watcher.action(action(number))
    watcher.action(stop(20))
    watcher.action(action(21))
    assert (watcher.actions, watcher.stops, watcher.lost, watcher.violations) == (22, 1, 0, [])
    assert watcher.latency_ms(50) == watcher.latency_ms(99) == 10.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["translation", "rotation", "gripper", "model_action"])
def test_a_number_that_is_not_finite_is_found_wherever_it_is(watcher: Watcher, name: str, value: float) -> None:
    changed = {"gripper": value, "model_action": [0.0] * 6 + [value]}.get(name, (0.0, value, 0.0))
    watcher.action(action(**{name: changed}))
    assert "finite" in broken(watcher)


@pytest.mark.parametrize(
    "changes",
    [
        {"translation": (0.05, 0.001, 0.0)},
        {"rotation": (0.1, 0.0, 0.01)},
        {"gripper": 1.01},
        {"gripper": -0.01},
    ],
)
def test_what_lies_beyond_a_limit_is_found(watcher: Watcher, changes: dict[str, object]) -> None:
    watcher.action(action(**changes))
    assert broken(watcher) == ["limits"]


def test_tighter_limits_hold_from_when_they_are_in_force(watcher: Watcher) -> None:
    watcher.action(action(0))
    watcher.limits(0.01, 0.1)
    watcher.action(action(1))
    assert [violation.text for violation in watcher.violations] == [
        "action 1 of episode 0: its translation is 0.05, the limit 0.01"
    ]


def test_after_a_hush_only_what_was_published_before_may_arrive(watcher: Watcher) -> None:
    watcher.hush("deactivate", START + 50 * MS)
    watcher.action(action(0))
    watcher.action(stop(1, START + 50 * MS))
    assert not watcher.violations
    watcher.action(action(2, START + 66 * MS))
    assert watcher.violations[0].text.endswith("published 26.0 ms after deactivate")
    watcher.unhush()
    watcher.action(action(3, START + 99 * MS))
    assert len(watcher.violations) == 1


def test_an_image_may_be_as_old_as_its_age_the_inference_and_the_slack_allow(watcher: Watcher) -> None:
    watcher.action(action(0, latency_ns=600 * MS))
    assert not watcher.violations
    watcher.action(action(1, latency_ns=601 * MS))
    assert broken(watcher) == ["freshness"]
    watcher.inference_ns = SECOND
    watcher.action(action(2, latency_ns=1600 * MS))
    assert watcher.counts["freshness"] == 1
    watcher.action(action(3, latency_ns=-300 * MS))
    assert "in the future" in watcher.violations[-1].text


def test_an_image_that_was_never_sent_cannot_be_answered(watcher: Watcher) -> None:
    watcher.any_stamp = True
    watcher.action(action(0, START + 1))
    assert not watcher.violations
    watcher.any_stamp = False
    watcher.action(action(1, START + 2))
    assert "never sent" in watcher.violations[0].text


@pytest.mark.parametrize(
    ("second", "text"),
    [
        (action(1, START), ""),
        (action(0, START + 33 * MS), "1 came before it"),
        (action(2, START), ""),
        (action(5, START + 33 * MS, episode=1), "does not begin with 0"),
        (action(0, START + 33 * MS, episode=1), ""),
    ],
)
def test_numbers_go_up_within_an_episode_and_begin_again_with_the_next(
    watcher: Watcher, second: SeenAction, text: str
) -> None:
    first = action(1, START) if text.startswith("1 came") else action(0, START)
    watcher.action(first)
    watcher.action(second)
    assert [violation.rule for violation in watcher.violations] == (["order"] if text else [])
    assert text in (watcher.violations[0].text if text else "")


def test_an_older_image_after_a_newer_one_and_an_older_episode_are_out_of_order(watcher: Watcher) -> None:
    watcher.action(action(0, START + 33 * MS))
    watcher.action(action(1, START))
    watcher.action(action(0, START + 66 * MS, episode=1))
    watcher.action(action(2, START + 99 * MS, episode=0))
    assert watcher.counts == {"order": 2}


def test_lost_messages_are_counted_and_no_violation(watcher: Watcher) -> None:
    watcher.action(action(0))
    watcher.action(action(4))
    assert (watcher.lost, watcher.violations) == (3, [])


def test_an_arm_is_stopped_once(watcher: Watcher) -> None:
    watcher.action(action(0))
    watcher.action(stop(1))
    watcher.action(stop(2))
    assert "stopped already" in watcher.violations[0].text


def test_a_node_that_starts_anew_counts_anew(watcher: Watcher) -> None:
    watcher.action(action(9, episode=3))
    watcher.restarted()
    watcher.action(action(0, START + 330 * MS))
    assert not watcher.violations


def test_after_a_reset_nothing_of_the_old_episode_follows(watcher: Watcher) -> None:
    watcher.action(action(0, episode=4))
    watcher.new_episode(5, START + 20 * MS)
    watcher.action(action(1, START + 33 * MS, episode=4))
    watcher.action(action(0, START + 66 * MS, episode=5))
    assert watcher.counts == {"episode": 1}


def test_an_old_instruction_is_followed_for_the_grace_time_at_most(watcher: Watcher) -> None:
    watcher.instruct("push", START)
    watcher.action(action(0))
    assert not watcher.violations
    watcher.action(action(1, START + 33 * MS, latency_ns=GRACE_NS))
    assert broken(watcher) == ["instruction"]


def test_an_old_instruction_never_comes_back(watcher: Watcher) -> None:
    watcher.instruct("push", START)
    watcher.action(action(0, instruction="push"))
    watcher.action(action(1, instruction="go"))
    assert broken(watcher) == ["instruction"]


def test_after_a_refused_instruction_nothing_is_followed(watcher: Watcher) -> None:
    watcher.instruct("", START)
    watcher.action(action(0, latency_ns=GRACE_NS + MS))
    assert broken(watcher) == ["instruction"]


def test_a_broken_node_does_not_fill_the_memory_with_violations(watcher: Watcher) -> None:
    for number in range(50):
        watcher.action(action(number, gripper=2.0))
    assert watcher.counts == {"limits": 50}
    assert len(watcher.violations) == 20
