from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robovlms_ros.policy.history import ActionHistoryRing, align_window
from robovlms_ros.policy.types import HistoryWindow


def row(number: int) -> list[float]:
    return [float(number)] * 7


def seen(window: HistoryWindow) -> list[int | None]:
    """The sequence numbers that a window shows, None where it is invalid."""
    numbers = [
        int(action[0]) if valid else None for action, valid in zip(window.actions, window.valid, strict=True)
    ]
    assert not window.actions[~window.valid].any(), "invalid rows hold zeros"
    return numbers


def filled(*numbers: int, length: int = 4, episode: int = 0) -> ActionHistoryRing:
    ring = ActionHistoryRing(length)
    for number in numbers:
        ring.push(episode, number, 100 * number, row(number))
    return ring


def test_an_empty_history_is_all_invalid() -> None:
    assert seen(filled().window()) == [None] * 4


def test_the_newest_action_is_the_last_row() -> None:
    assert seen(filled(0, 1).window()) == [None, None, 0, 1]
    assert seen(filled(0, 1, 2, 3, 4, 5).window()) == [2, 3, 4, 5]


def test_a_lost_action_leaves_an_invalid_row_and_shifts_nothing() -> None:
    assert seen(filled(0, 1, 3).window()) == [0, 1, None, 3]
    assert seen(filled(0, 1, 9).window()) == [None, None, None, 9]


def test_a_late_action_is_filled_into_its_place() -> None:
    assert seen(filled(0, 2, 3, 1).window()) == [0, 1, 2, 3]


def test_an_action_that_left_the_window_is_ignored() -> None:
    ring = filled(10)
    assert not ring.push(0, 6, 600, row(6))
    assert seen(ring.window()) == [None, None, None, 10]


def test_a_new_episode_clears_the_history() -> None:
    ring = filled(0, 1, 2)
    ring.push(1, 0, 300, row(7))
    assert seen(ring.window()) == [None, None, None, 7]
    assert (ring.episode, ring.sequence) == (1, 0)


def test_a_restarted_publisher_clears_the_history() -> None:
    ring = filled(0, 1, 2)
    ring.push(0, 0, 9999, row(5))
    assert seen(ring.window()) == [None, None, None, 5]


@pytest.mark.parametrize("action", [[0.0] * 6, [float("nan")] + [0.0] * 6])
def test_a_malformed_action_is_refused_and_changes_nothing(action: list[float]) -> None:
    ring = filled(0, 1)
    with pytest.raises(ValueError, match="7 finite numbers"):
        ring.push(0, 2, 200, action)
    assert seen(ring.window()) == [None, None, 0, 1]


def test_actions_that_have_not_arrived_are_marked_not_guessed() -> None:
    assert seen(filled(0, 1, 2).window(until=4)) == [1, 2, None, None]


@given(
    st.lists(st.integers(0, 12), min_size=1, unique=True), st.integers(1, 6), st.integers(0, 14), st.integers(1, 8)
)
def test_aligning_a_published_window_gives_what_the_ring_would(
    numbers: list[int], length: int, until: int, wanted: int
) -> None:
    ring = filled(*sorted(numbers), length=length)
    aligned = align_window(ring.window(), ring.sequence, until, wanted)
    held = set(numbers) & set(range(ring.sequence - length + 1, ring.sequence + 1))
    assert seen(aligned) == [n if n in held else None for n in range(until - wanted + 1, until + 1)]


def test_a_history_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="length 0"):
        ActionHistoryRing(0)


def test_windows_are_copies() -> None:
    ring = filled(0)
    ring.window().actions[:] = np.nan
    assert seen(ring.window()) == [None, None, None, 0]
