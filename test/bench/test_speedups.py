"""The comparisons run, and notice results that differ."""

from __future__ import annotations

import math

import pytest
import torch

from robovlms_ros.bench.speedups import measure
from robovlms_ros.bench.timing import compare, threads


def test_every_speed_up_gives_the_results_of_the_plain_algorithm() -> None:
    threads_before, told = torch.get_num_threads(), list[str]()
    (table,) = measure("tiny", 1, told.append)
    assert table.problems == ()
    assert [row[0] for row in table.rows] == told
    assert len(told) == 8
    assert any("staggered LSTM" in technique for technique in told)
    assert all(row[-1] <= 1.01 / 255 for row in table.rows)
    assert torch.get_num_threads() == threads_before


@pytest.mark.parametrize("other", [1.1, math.nan])
def test_results_that_differ_are_a_problem(other: float) -> None:
    assert compare("same", lambda: torch.ones(2), lambda: torch.ones(2), 0.0, 1).problem is None
    found = compare("other", lambda: torch.ones(2), lambda: torch.full((2,), other), 0.01, 2)
    assert found.problem is not None
    assert found.problem.startswith("other: the results differ by ")


def test_threads_are_given_back_whatever_happens() -> None:
    before = torch.get_num_threads()

    def fail() -> None:
        with threads(3):
            assert torch.get_num_threads() == 3
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail()
    assert torch.get_num_threads() == before
