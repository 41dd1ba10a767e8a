"""The training benchmark takes the same steps on all sides, and notices where they differ."""

from __future__ import annotations

import pytest

pytest.importorskip("accelerate")

from robovlms_ros.bench import training


def test_all_sides_end_with_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    (table,) = training.measure("tiny", 2, lambda what: None)
    assert table.problems == ()
    assert [row[0] for row in table.rows] == ["the loop, everything trained", *training.SETUPS]
    assert all(row[1] > 0 and row[-1] <= training.ROUNDING for row in table.rows)

    # The plain loop then trains on other windows than ours.
    sampler = training.BatchSampler
    monkeypatch.setattr(training, "BatchSampler", lambda order, first, last: sampler(order, first + 1, last))
    monkeypatch.setattr(training, "SETUPS", {})
    (table,) = training.measure("tiny", 1, lambda what: None)
    assert "the weights differ by" in table.problems[0]
