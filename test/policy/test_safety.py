from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robovlms_ros.policy.safety import ActionError, Limits, check_chunk, limit_actions
from robovlms_ros.policy.types import ActionChunk


def chunk(actions: np.ndarray, normalized: np.ndarray | None = None) -> ActionChunk:
    return ActionChunk(np.zeros(actions.shape, np.float32) if normalized is None else normalized, actions)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dimension", range(7))
@pytest.mark.parametrize("row", [0, 3])
def test_a_value_that_is_not_finite_is_refused_in_any_place(value: float, dimension: int, row: int) -> None:
    bad = np.zeros((4, 7))
    bad[row, dimension] = value
    for broken in (chunk(bad), chunk(np.zeros((4, 7)), bad.astype(np.float32))):
        with pytest.raises(ActionError, match=rf"action {row} has .* in dimension {dimension}") as caught:
            check_chunk(broken)
        assert caught.value.kind == "not finite"


@pytest.mark.parametrize("shape", [(1, 6), (1, 8), (0, 7), (7,), (1, 1, 7)])
def test_a_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ActionError, match="shape") as caught:
        check_chunk(chunk(np.zeros(shape)))
    assert caught.value.kind == "wrong shape"


def test_normalised_and_physical_actions_of_different_number_are_refused() -> None:
    with pytest.raises(ActionError, match="2 normalised but 3 physical"):
        check_chunk(chunk(np.zeros((3, 7)), np.zeros((2, 7), np.float32)))


def test_a_good_chunk_passes() -> None:
    check_chunk(chunk(np.ones((10, 7))))


@pytest.mark.fault(3)
@pytest.mark.parametrize("size", [1e9, 1e300])
def test_a_huge_motion_is_shortened_and_keeps_its_direction(size: float) -> None:
    action = np.array([[size, -2 * size, 0, 0, 0, size, 0.5]])
    limited, saturated = limit_actions(action, Limits(translation=0.05, rotation=0.1))
    np.testing.assert_allclose(limited[0, :3], 0.05 * np.array([1, -2, 0]) / math.sqrt(5))
    np.testing.assert_allclose(limited[0, 3:6], [0, 0, 0.1])
    assert saturated[0] == 0b0100011


def test_motion_within_the_limits_is_not_touched() -> None:
    actions = np.array([[0.03, 0.04, 0, 0.1, 0, 0, 1.0], [0, 0, 0, 0, 0, 0, 0]])
    limited, saturated = limit_actions(actions, Limits(translation=0.05, rotation=0.1))
    np.testing.assert_array_equal(limited, actions)
    assert saturated.tolist() == [0, 0]


def test_the_gripper_stays_within_its_range() -> None:
    actions = np.zeros((2, 7))
    actions[:, 6] = [-0.2, 1.7]
    limited, saturated = limit_actions(actions, Limits())
    assert limited[:, 6].tolist() == [0.0, 1.0]
    assert saturated.tolist() == [1 << 6, 1 << 6]


def test_the_input_is_left_alone() -> None:
    actions = np.full((1, 7), 5.0)
    limit_actions(actions, Limits(translation=1.0, rotation=1.0))
    assert (actions == 5.0).all()


@pytest.mark.parametrize("value", [-1.0, 0.0, math.nan])
def test_a_limit_that_limits_nothing_sensible_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="translation limit"):
        Limits(translation=value)
    with pytest.raises(ValueError, match="rotation limit"):
        Limits(rotation=value)


@given(arrays(np.float64, (3, 7), elements=st.floats(-1e6, 1e6)))
def test_no_action_leaves_beyond_its_limits(actions: np.ndarray) -> None:
    limits = Limits(translation=0.02, rotation=0.05)
    limited, saturated = limit_actions(actions, limits)
    assert (np.linalg.norm(limited[:, :3], axis=1) <= 0.02 * (1 + 1e-12)).all()
    assert (np.linalg.norm(limited[:, 3:6], axis=1) <= 0.05 * (1 + 1e-12)).all()
    assert ((limited[:, 6] >= 0) & (limited[:, 6] <= 1)).all()
    for row, before, bits in zip(limited, actions, saturated, strict=True):
        assert {i for i in range(7) if row[i] != before[i]} == {i for i in range(7) if bits >> i & 1}
