"""`robovlms demo`: four processes over DDS, and a page of what they did."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("rclpy")
pytest.importorskip("mujoco")
pytest.importorskip("torch")
from robovlms_ros.cli.main import app
from robovlms_ros.policy.untrained import make_untrained


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed") / "model"
    return Path(make_untrained(folder, robot="tabletop", hand=True, image_size=28, window=2, chunk=3))


@pytest.mark.timeout(600)
def test_a_model_that_can_do_nothing_is_run_shown_and_reported(untrained: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["demo", "--model", str(untrained), "--episodes", "1", "--image-size", "32", "--compare"]
    arguments += ["--execute", "2", "--out", str(out)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1, done.output
    last = done.output.strip().splitlines()[-1]
    assert last.startswith("demo: success 0/1, latency p50 ")
    assert float(last.split()[-2]) > 0
    assert "without ROS: 1 of 1 episodes, every bit of every image" in done.output
    page = (out / "index.html").read_text()
    assert "pick up the" in page
    assert "RoboKosMos/LSTMDecoder" in page
    assert page.count("data:image/gif") == 1
    assert (out / "demo.gif").stat().st_size > 10_000


@pytest.mark.timeout(600)
def test_a_model_that_cannot_be_loaded_is_one_line(untrained: Path, tmp_path: Path) -> None:
    arguments = ["demo", "--model", str(untrained), "--policy-head", "GPTDecoder", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    said = [line for line in done.output.splitlines() if "cannot configure" in line]
    assert len(said) == 1
    assert "GPTDecoder" in said[0]
