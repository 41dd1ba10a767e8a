"""The training benchmark takes the same steps on all sides, and notices where they differ."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

pytest.importorskip("accelerate")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """The benchmark sets the number of threads."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_all_sides_end_with_the_same_weights(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "bench"))
    import training

    assert training.main(["--scale", "tiny", "--steps", "2"]) == 0
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines() if line.startswith("|")][2:]
    assert [row[1].strip() for row in rows] == ["the loop, everything trained", *training.SETUPS]
    assert all(float(row[2]) > 0 for row in rows)

    # The plain loop then trains on other windows than ours.
    sampler = training.BatchSampler
    monkeypatch.setattr(training, "BatchSampler", lambda order, first, last: sampler(order, first + 1, last))
    monkeypatch.setattr(training, "SETUPS", {})
    assert training.main(["--scale", "tiny", "--steps", "1"]) == 1
    assert "the weights differ by" in capsys.readouterr().err
