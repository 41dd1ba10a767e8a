"""What a run tells, and that telling never ends it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from rich.console import Console

from robovlms_ros.train.reporting import MetricsFile, RunReporter, read_metrics


def test_lines_come_back_and_what_is_not_finite_is_null(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.jsonl")
    file.write(1, {"train_loss": 0.5})
    file.write(2, {"train_loss": math.nan})
    assert read_metrics(file.path) == [{"step": 1, "train_loss": 0.5}, {"step": 2, "train_loss": None}]
    file.cut(1)
    assert read_metrics(file.path) == [{"step": 1, "train_loss": 0.5}]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a file that is always full")
def test_a_full_disk_costs_the_curves_and_not_the_run(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    console = Console(record=True, width=200, file=(tmp_path / "said").open("w"))
    reporter = RunReporter(MetricsFile(tmp_path / "metrics.jsonl"), None, console)
    with reporter.showing(0, 3):
        for step in (1, 2, 3):
            reporter.log(step, {"train_loss": 0.5})
            reporter.advance(step)
    text = console.export_text()
    assert text.count("No space left on device; training goes on without its curves") == 1
    assert "step 3/3  loss 0.5" in text


def test_curves_are_written_for_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reporter = RunReporter(MetricsFile(tmp_path / "metrics.jsonl"), tmp_path / "board", Console(quiet=True))
    with reporter.showing(0, 2):
        reporter.log(1, {"train_loss": 0.5, "val_loss": 0.25})
        reporter.log(2, {"train_loss": 0.125})
    found = EventAccumulator(str(tmp_path / "board"))
    found.Reload()
    assert [(point.step, point.value) for point in found.Scalars("train_loss")] == [(1, 0.5), (2, 0.125)]
    assert [point.value for point in found.Scalars("val_loss")] == [0.25]
