from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robovlms_ros.soak.flatness import Allowance, growth

ALLOWANCE = Allowance(once=4.0, per_minute=1.0)


def test_a_steady_leak_is_found_whatever_the_noise() -> None:
    times = np.arange(0.0, 600.0, 0.5)
    noise = np.random.default_rng(0).normal(0.0, 3.0, len(times))
    grown = growth(times.tolist(), (50 + 2.0 * times / 60 + noise).tolist(), ALLOWANCE)
    assert grown.gained == pytest.approx(20.0, abs=1.0)
    assert grown.allowed == pytest.approx(14.0, abs=0.1)
    assert not grown.flat


def test_noise_and_a_late_step_are_no_leak() -> None:
    times = np.arange(0.0, 600.0, 0.5)
    values = 50 + np.random.default_rng(0).normal(0.0, 3.0, len(times)) + 3.0 * (times > 500)
    assert growth(times.tolist(), values.tolist(), ALLOWANCE).flat


def test_one_large_image_just_then_does_not_count() -> None:
    times, values = list(range(100)), [50.0] * 100
    values[-3:] = [90.0] * 3
    assert growth(times, values, ALLOWANCE).gained == 0.0


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_samples_grow_by_nothing(count: int) -> None:
    assert growth(range(count), [float(value) for value in range(count)], ALLOWANCE).gained == 0.0


@given(
    st.floats(-100, 100),
    st.floats(-10, 10),
    st.lists(st.floats(0, 3600), min_size=3, max_size=40, unique=True).filter(
        lambda times: min(np.diff(sorted(times))) > 1e-3
    ),
)
def test_a_straight_line_gains_its_slope_times_its_length(start: float, slope: float, times: list[float]) -> None:
    times.sort()
    grown = growth(times, [start + slope * time for time in times], ALLOWANCE)
    assert grown.gained == pytest.approx(slope * (times[-1] - times[0]), rel=1e-3, abs=1e-3)
