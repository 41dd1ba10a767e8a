from __future__ import annotations

import numpy as np
import pytest
from golden_cases import arrays

from robovlms_ros.train.schedules import Schedule


def test_the_half_cosine_matches_upstream() -> None:
    schedule = Schedule("half-cosine", total=100, warmup=10, min_scale=0.01)
    np.testing.assert_allclose(
        [schedule(step) for step in range(101)], arrays("functions")["lr_halfcos"], atol=1e-12
    )


def test_constant_is_linear_warm_up_then_one() -> None:
    schedule = Schedule("constant", total=10, warmup=4)
    assert [schedule(step) for step in range(7)] == [0, 0.25, 0.5, 0.75, 1, 1, 1]
    assert Schedule("constant", total=10)(0) == 1


def test_cosine_ends_at_nothing_and_half_cosine_at_its_minimum_and_both_stay_there() -> None:
    for step in (20, 25):
        assert Schedule("cosine", total=20, min_scale=0.5)(step) == pytest.approx(0)
        assert Schedule("half-cosine", total=20, min_scale=0.5)(step) == pytest.approx(0.5)


def test_a_warm_up_may_end_between_steps() -> None:
    assert [Schedule("constant", 10, warmup=2.5)(step) for step in range(4)] == [0, 0.4, 0.8, 1]
