"""Gripper state machines, against the traces of upstream's wrappers."""

from __future__ import annotations

import golden_cases
import pytest

from robovlms_ros.policy.gripper import ConsecutiveGripper, Gripper, StickyGripper, ThresholdGripper, advance


def bits(text: str) -> list[bool]:
    return [bit == "1" for bit in text.split()]


def test_widowx_follows_upstreams_trace() -> None:
    wrappers = golden_cases.arrays("wrappers")
    gripper = ConsecutiveGripper()
    openings = [gripper.step(bool(answer > 0.5)) for answer in wrappers["simpler_widowx_bridge__gripper_in"]]
    assert [2 * opening - 1 for opening in openings] == list(wrappers["simpler_widowx_bridge__gripper_out"])


def test_google_robot_follows_upstreams_trace() -> None:
    gripper = StickyGripper()
    relative, openings = [], []
    for wants_open in bits("0 0 1 0 1 1 0"):
        openings.append(gripper.step(wants_open))
        relative.append(gripper.relative)
    assert relative == [0, 0, -2, -2, -2, -2, 2]
    assert openings == [1, 1, 1, 1, 1, 1, 0]


def test_google_robot_keeps_its_opening_between_commands() -> None:
    gripper = StickyGripper()
    assert [gripper.step(wants_open) for wants_open in bits("1 0 0 0 0")] == [1, 0, 0, 0, 0]


def test_calvin_does_what_is_said() -> None:
    gripper = ThresholdGripper()
    assert [gripper.step(wants_open) for wants_open in bits("0 1 1 0")] == [0, 1, 1, 0]


@pytest.mark.parametrize("make", [ThresholdGripper, ConsecutiveGripper, StickyGripper])
def test_a_chunk_advances_the_gripper_by_its_first_row_alone(make: type[Gripper]) -> None:
    answers = bits("1 0 1 1 0 0 1 1 1 0 1")
    chunked, single, straight = make(), make(), make()
    for start in range(len(answers)):
        preview = advance(chunked, answers[start:])
        assert preview[0] == single.step(answers[start])
        assert len(preview) == len(answers) - start
    assert advance(make(), answers) == [straight.step(answer) for answer in answers]
