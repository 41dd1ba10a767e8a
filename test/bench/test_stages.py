"""Stages, start-up and memory are measured of what they name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from robovlms_ros.bench import memory, startup
from robovlms_ros.bench.stages import measure
from robovlms_ros.policy import VLAPolicy
from robovlms_ros.policy.untrained import make_untrained


def test_every_stage_of_a_users_own_model_is_measured(tmp_path: Path) -> None:
    folder = make_untrained(tmp_path / "model", image_size=56)
    (table,) = measure("tiny", 2, lambda what: None, folder)
    rows = {row[0]: row for row in table.rows}
    assert "RoboKosMos/LSTMDecoder@" in table.title
    assert "1 camera," in table.title
    for stage in ("decode JPEG", "session.step", "- vision", "- language model", "- policy head"):
        p50, p95, least = rows[stage][1:4]
        assert 0 < least <= p50 <= p95
    assert any("again (A/A)" in stage for stage in rows)
    parts = sum(rows[f"- {part}"][3] for part in ("preprocess", "vision", "language model", "policy head"))
    assert parts <= 2 * rows["session.step"][2]  # its 95th percentile; on a busy machine medians do not add up
    if not any("Without the rows" in note for note in table.notes):
        assert rows["make and publish VLAAction"][1] > 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_start_up_is_that_of_a_fresh_process() -> None:
    chosen = {
        name: code for name, code in startup.STATEMENTS.items() if code == "pass" or name == "robovlms --help"
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(startup, "STATEMENTS", chosen)
        (table,) = startup.measure(1, False, lambda what: None)
    rows = {row[0]: row for row in table.rows}
    assert rows["robovlms --help"][1] > rows[startup.EMPTY][1] > 0
    # Not what this process has, with torch in it.
    assert 5 < rows[startup.EMPTY][4] < 60


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_benchmark_makes_packs_and_loads_a_model(tmp_path: Path) -> None:
    memory.write_sources(tmp_path, "tiny")
    memory.pack(tmp_path, "bfloat16")
    measured = memory.peaks(lambda: memory.load(tmp_path, "bfloat16", "float32"))
    assert 0 < measured["anonymous"] <= measured["peak"]
    assert measured["seconds"] > 0
    assert VLAPolicy.load(tmp_path / "bfloat16").card["backbone"] == "RoboKosMos"
