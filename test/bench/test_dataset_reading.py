from __future__ import annotations

import sys
from pathlib import Path

import pytest


def test_the_reading_benchmark_reads_every_frame_of_every_form(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "bench"))
    import dataset_reading

    monkeypatch.setattr(dataset_reading, "CUTS", 3)
    assert dataset_reading.main(["--steps", "64", "--folder", str(tmp_path)]) == 0
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [int(row[2]) for row in rows] == [128, 128, 128]
    assert all(float(row[4]) > 0 for row in rows)
    if sys.platform == "linux":
        assert all(0.01 < float(row[6]) < 2 for row in rows)
    assert list(tmp_path.iterdir()) == []
