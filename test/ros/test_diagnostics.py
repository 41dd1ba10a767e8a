from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("rclpy")
from robovlms_ros.ros.diagnostics import OK, FrameMonitor, Latencies, status

MS = 1_000_000


def watched(keep: np.ndarray, period: int = 33_333_333) -> FrameMonitor:
    monitor = FrameMonitor()
    for number in np.flatnonzero(keep):
        monitor.add(int(number) * period + 10**18, int(number) * period + 10**18)
    return monitor


def test_a_camera_whose_frames_all_arrive_has_both_rates_alike() -> None:
    received, taken = watched(np.ones(120, bool)).rates()
    assert received == pytest.approx(30, rel=0.01)
    assert taken == pytest.approx(30, rel=0.01)


def test_lost_frames_show_against_the_pace_of_the_stamps() -> None:
    received, taken = watched(np.random.default_rng(0).random(140) < 0.55).rates()
    assert taken == pytest.approx(30, rel=0.01)
    assert received == pytest.approx(0.55 * 30, rel=0.15)


def test_rates_are_unknown_until_there_are_enough_frames() -> None:
    assert watched(np.ones(9, bool)).rates() == (0.0, 0.0)


def test_a_jump_of_the_stamps_starts_the_measurement_again() -> None:
    monitor = watched(np.ones(50, bool))
    monitor.add(5, 5)
    assert monitor.rates() == (0.0, 0.0)
    assert monitor.received == 51


def test_silence_is_measured_from_the_last_arrival() -> None:
    monitor = FrameMonitor()
    assert monitor.silent_for(0) == math.inf
    monitor.add(1000 * MS, 1100 * MS)
    assert monitor.silent_for(1600 * MS) == pytest.approx(0.5)
    assert monitor.silent_for(5 * MS) == math.inf


@pytest.mark.fault(35)
def test_percentiles_of_nothing_are_zero() -> None:
    latencies = Latencies()
    assert latencies.percentile(50) == 0.0
    for value in range(101):
        latencies.add(float(value))
    assert latencies.percentile(95) == 95.0
    latencies.clear()
    assert latencies.percentile(95) == 0.0


def test_numbers_are_readable() -> None:
    built = status(OK, "name", "message", "id", {"share": 1 / 3, "count": 3, "silent": math.inf})
    assert [(pair.key, pair.value) for pair in built.values] == [
        ("share", "0.333"),
        ("count", "3"),
        ("silent", "inf"),
    ]
