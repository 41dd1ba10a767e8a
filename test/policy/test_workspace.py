from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robovlms_ros.policy.workspace import Workspace, confine

BOX = Workspace((-0.5, -0.4, 0.0), (0.5, 0.4, 0.6))
LOW, HIGH = np.array(BOX.low), np.array(BOX.high)
motions = arrays(np.float64, (4, 3), elements=st.floats(-2.0, 2.0))
anywhere = arrays(np.float64, (3,), elements=st.floats(-3.0, 3.0))
# Rounding of a sum of numbers of this size.
EXACT = 1e-12


def outside(position: np.ndarray) -> np.ndarray:
    """How far each coordinate lies beyond the box; 0 inside."""
    return np.asarray(np.maximum(np.maximum(LOW - position, position - HIGH), 0.0))


@given(motions, anywhere)
def test_no_motion_leads_further_out_nor_out_at_all_from_inside(motion: np.ndarray, start: np.ndarray) -> None:
    places = start + np.cumsum(np.vstack([np.zeros(3), confine(motion, BOX, start)]), axis=0)
    for before, after in itertools.pairwise(places):
        assert (outside(after) <= outside(before) + EXACT).all()


@given(motions, anywhere)
def test_nothing_is_lengthened_or_turned_round_so_the_box_never_pulls(
    motion: np.ndarray, start: np.ndarray
) -> None:
    confined = confine(motion, BOX, start)
    assert (np.abs(confined) <= np.abs(motion)).all()
    assert (confined * motion >= 0).all()
    np.testing.assert_array_equal(confine(np.zeros((1, 3)), BOX, start), np.zeros((1, 3)))


@given(motions, anywhere)
def test_what_stays_inside_is_not_touched(motion: np.ndarray, start: np.ndarray) -> None:
    inside = np.clip(start, LOW, HIGH)
    small = motion * 1e-3
    places = inside + np.cumsum(small, axis=0)
    if not any(outside(place).any() for place in places):
        np.testing.assert_allclose(confine(small, BOX, inside), small, rtol=0, atol=EXACT)


@given(motions, anywhere)
def test_to_confine_twice_changes_nothing_more(motion: np.ndarray, start: np.ndarray) -> None:
    once = confine(motion, BOX, start)
    np.testing.assert_allclose(confine(once, BOX, start), once, rtol=0, atol=EXACT)


def test_a_motion_through_a_wall_ends_on_it_and_slides_along() -> None:
    np.testing.assert_allclose(
        confine(np.array([[0.2, 0.1, -0.3]]), BOX, np.array([0.4, 0.0, 0.1])), [[0.1, 0.1, -0.1]]
    )


def test_a_tool_that_is_outside_may_come_back_across_the_whole_box_and_no_further_out() -> None:
    start = np.array([0.7, 0.0, 0.3])
    np.testing.assert_allclose(confine(np.array([[0.1, 0.0, 0.0]]), BOX, start), [[0.0, 0.0, 0.0]])
    np.testing.assert_allclose(confine(np.array([[-0.1, 0.0, 0.0]]), BOX, start), [[-0.1, 0.0, 0.0]])
    np.testing.assert_allclose(confine(np.array([[-2.0, 0.0, 0.0]]), BOX, start), [[-1.2, 0.0, 0.0]])


def test_the_rows_of_a_chunk_follow_each_other() -> None:
    start = np.array([0.35, 0.0, 0.3])
    confined = confine(np.array([[0.1, 0.0, 0.0], [0.1, 0.0, 0.0], [-0.1, 0.0, 0.0], [0.3, 0.0, 0.0]]), BOX, start)
    np.testing.assert_allclose(confined[:, 0], [0.1, 0.05, -0.1, 0.1])


def test_the_input_is_left_alone() -> None:
    motion, start = np.ones((2, 3)), np.zeros(3)
    confine(motion, BOX, start)
    assert (motion == 1).all()
    assert (start == 0).all()


def test_six_numbers_make_a_box_and_none_make_none() -> None:
    assert Workspace.of_numbers([-0.5, -0.4, 0, 0.5, 0.4, 0.6]) == BOX
    assert Workspace.of_numbers([]) is None


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ([0.0] * 5, "6 numbers, not 5"),
        ([0.0] * 7, "6 numbers, not 7"),
        ([0, 0, 0, 1, 1, math.nan], "finite"),
        ([0, -math.inf, 0, 1, 1, 1], "finite"),
        ([0, 0.5, 0, 1, 0.5, 1], "y_min 0.5 not below y_max 0.5"),
        ([0, 0, 2, 1, 1, 1], "z_min 2 not below z_max 1"),
    ],
)
def test_numbers_that_make_no_box_are_refused(numbers: list[float], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Workspace.of_numbers(numbers)
