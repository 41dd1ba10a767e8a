"""The benchmarks run, and notice results that differ."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from robovlms_ros.policy import VLAPolicy

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture(autouse=True)
def bench_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))


@pytest.fixture
def own_threads() -> Iterator[None]:
    """The benchmark sets the number of threads."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("own_threads")
def test_every_speed_up_gives_the_results_of_the_plain_algorithm(capsys: pytest.CaptureFixture[str]) -> None:
    import speedups

    assert speedups.main(["--scale", "tiny", "--repeats", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    techniques = [line.split("|")[1].strip() for line in lines if line.startswith("|")][2:]
    assert len(techniques) == 8
    assert any("staggered LSTM" in technique for technique in techniques)


def test_results_that_differ_fail(capsys: pytest.CaptureFixture[str]) -> None:
    import measure

    assert measure.compare("same", lambda: torch.ones(2), lambda: torch.ones(2), 0.0, 1)
    assert not measure.compare("other", lambda: torch.ones(2), lambda: torch.full((2,), 1.1), 0.01, 1)
    assert "other: the results differ by 1.0e-01" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_benchmark_makes_packs_and_loads_a_model(tmp_path: Path) -> None:
    import load_memory

    load_memory.write_sources(tmp_path, "tiny")
    load_memory.pack(tmp_path, "bfloat16")
    measured = load_memory.measure(lambda: load_memory.load(tmp_path, "bfloat16", "float32"))
    assert 0 < measured["anonymous"] <= measured["peak"]
    assert measured["seconds"] > 0
    assert VLAPolicy.load(tmp_path / "bfloat16").card["backbone"] == "RoboKosMos"
