"""``robovlms data``, run the way a user runs it; in this process, which is quicker."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from robovlms_ros.cli.main import app
from robovlms_ros.data.convert import convert
from robovlms_ros.data.episodes import ArrayEpisode, MemorySource
from robovlms_ros.data.errors import DataError
from robovlms_ros.data.folder.format import ImageFormat, Origin
from robovlms_ros.data.folder.reader import open_dataset
from robovlms_ros.data.report import DropReport
from robovlms_ros.policy.robot_profile import load_profile


def episode(number: int, steps: int) -> ArrayEpisode:
    random = np.random.default_rng(number)
    actions = random.uniform(-0.02, 0.02, (steps, 7))
    actions[:, 6] = 1
    images = {camera: random.integers(0, 256, (steps, 12, 16, 3), dtype=np.uint8) for camera in ("static", "hand")}
    return ArrayEpisode(f"e{number}", f"task {number % 2}", 0.1, actions, images)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    report = DropReport()
    report.add("gap in time", "step", "e1", 7, detail="0.4 s", count=2)
    source = MemorySource("kitchen", [episode(number, 9 + number) for number in range(3)], "rpy", "base")
    origin = Origin(importer="test", path="memory")
    convert(source, tmp_path / "kitchen", origin, images=ImageFormat(encoding="png"), report=report)
    return tmp_path / "kitchen"


def data(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


def test_info_shows_counts_cameras_instructions_and_what_was_left_out(dataset: Path) -> None:
    shown = data("info", dataset)
    assert shown.exit_code == 0
    for text in (
        "static 16 x 12",
        "hand 16 x 12",
        "9 to 11, median 10",
        "task 0",
        "gap in time",
        "2 steps",
        "0.4 s",
    ):
        assert text in shown.stdout
    report = json.loads(data("info", dataset, "--json").stdout)
    assert (report["episodes"], report["steps"], report["complete"]) == (3, 30, "yes")
    assert report["instructions"] == ["task 0", "task 1"]
    assert report["dropped"][0]["count"] == 2


def test_stats_writes_a_profile_that_loads(dataset: Path, tmp_path: Path) -> None:
    shown = data("stats", dataset, "--robot-profile", tmp_path / "arm.yaml", "--window", 10, "--chunk", 11)
    assert shown.exit_code == 0, shown.output
    assert "1 of 3 episodes are shorter than the window of 10 steps" in shown.stdout
    assert "2 of 3 episodes are shorter than the chunk of 11 steps" in shown.stdout
    profile = load_profile(tmp_path / "arm.yaml")
    assert (profile.name, profile.frame, profile.step_duration) == ("arm", "base", 0.1)
    rows = np.concatenate([one.actions for one in open_dataset(dataset)])
    assert profile.statistics is not None
    np.testing.assert_allclose(profile.statistics.q01, np.quantile(rows, 0.01, axis=0)[:6])


def test_stats_as_json_is_nothing_but_json(dataset: Path, tmp_path: Path) -> None:
    shown = data("stats", dataset, "--json", "--robot-profile", tmp_path / "arm.yaml")
    report = json.loads(shown.stdout)
    assert report["dimensions"][0] == "x"
    assert len(report["q99"]) == 7
    assert report["episodes_shorter_than"] == {"window": 0, "chunk": 1}


def test_an_arm_that_did_not_move_gets_no_profile_unless_told_how(tmp_path: Path) -> None:
    still = ArrayEpisode("e", "hold", 0.1, np.zeros((4, 7)), {})
    convert(MemorySource("still", [still]), tmp_path / "still", Origin(importer="t", path=""))
    assert "did not move: x, y, z, roll, pitch, yaw" in data("stats", tmp_path / "still").stdout
    refused = data("stats", tmp_path / "still", "--robot-profile", tmp_path / "arm.yaml")
    assert isinstance(refused.exception, DataError)
    assert not (tmp_path / "arm.yaml").exists()
    data("stats", tmp_path / "still", "--robot-profile", tmp_path / "arm.yaml", "--smallest-range", 0.002)
    statistics = load_profile(tmp_path / "arm.yaml").statistics
    assert statistics is not None
    assert statistics.q99 == [0.001] * 6


@pytest.mark.parametrize("ending", ["png", "gif"])
def test_show_writes_a_picture(dataset: Path, tmp_path: Path, ending: str) -> None:
    shown = data("show", dataset, 1, "--out", tmp_path / f"e.{ending}")
    assert "task 1" in shown.stdout
    with Image.open(tmp_path / f"e.{ending}") as picture:
        assert picture.format == ending.upper()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "{}", "9"], "episodes '9'.*there are 3"),
        (["show", "{}", "--out", "e.bmp"], "give it the ending .png or .gif"),
        (["show", "{}/nowhere"], "no dataset folder"),
        (["convert", "{}", "--out", "{}2", "--encoding", "webp"], "choose jpeg or png"),
    ],
)
def test_mistakes_are_errors_that_say_what_to_do(dataset: Path, arguments: list[str], message: str) -> None:
    failed = data(*[argument.format(dataset) for argument in arguments])
    assert failed.exit_code == 1
    with pytest.raises(ValueError, match=message):
        raise failed.exception or AssertionError


def test_convert_joins_selects_and_resizes(
    dataset: Path, tmp_path: Path, make_copy: Callable[[Path], Path]
) -> None:
    made = data(
        "convert", dataset, make_copy(dataset), "--out", tmp_path / "both", "--episodes", "1:", "--resize", 8
    )
    assert made.exit_code == 0, made.output
    both = open_dataset(tmp_path / "both")
    assert [row.identifier for row in both.rows] == ["e1", "e2", "e0", "e1~2", "e2~2"]
    assert both[0].image("hand", 0).shape == (8, 8, 3)
    data("convert", dataset, "--out", tmp_path / "static", "--camera", "static")
    assert open_dataset(tmp_path / "static").info.cameras == ("static",)
    np.testing.assert_array_equal(
        open_dataset(tmp_path / "static")[2].image("static", 3), open_dataset(dataset)[2].image("static", 3)
    )


@pytest.fixture
def make_copy(tmp_path: Path) -> Callable[[Path], Path]:
    def copy(folder: Path) -> Path:
        data("convert", folder, "--out", tmp_path / "copy")
        return tmp_path / "copy"

    return copy
