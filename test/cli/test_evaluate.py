"""``robovlms evaluate offline``, from a dataset folder and a packed model to a report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from robovlms_ros.cli.main import app
from robovlms_ros.data.convert import convert
from robovlms_ros.data.episodes import ArrayEpisode, MemorySource
from robovlms_ros.data.folder.format import ImageFormat, Origin
from robovlms_ros.policy.untrained import make_untrained


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("data") / "held_out"
    episodes = []
    for number, length in enumerate((6, 9)):
        actions = random.uniform(-0.01, 0.01, (length, 7))
        actions[:, 6] = np.arange(length) < length // 2
        images = {"static": random.integers(0, 256, (length, 32, 32, 3), dtype=np.uint8)}
        episodes.append(ArrayEpisode(f"{number}", "pick up the red block", 1 / 30, actions, images))
    source = MemorySource("held out", episodes, frame="world")
    convert(source, folder, Origin(importer="test", path="memory"), images=ImageFormat(encoding="png"))
    return folder


def test_a_packed_model_on_a_dataset(dataset: Path, tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    make_untrained(tmp_path / "model", image_size=28)
    report, numbers = tmp_path / "report.html", tmp_path / "numbers.json"
    command = ["evaluate", "offline", tmp_path / "model", dataset, "--report", report, "--json", numbers]
    result = CliRunner().invoke(app, list(map(str, command)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "2 episodes, 15 steps" in result.output
    content = json.loads(numbers.read_text())
    assert content["steps"] == 15
    assert content["left out"] == "nothing"
    assert len(content["by_horizon"]["translation_error"]) > 1
    assert "Offline evaluation of model" in report.read_text()


def test_the_last_episodes_alone(dataset: Path, tmp_path: Path) -> None:
    make_untrained(tmp_path / "model", image_size=28)
    command = ["evaluate", "offline", tmp_path / "model", dataset, "--episodes", 1]
    result = CliRunner().invoke(app, list(map(str, command)), catch_exceptions=False)
    assert "1 episodes, 9 steps" in result.output
