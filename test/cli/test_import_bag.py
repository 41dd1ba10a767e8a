from __future__ import annotations

from pathlib import Path

import bags
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from robovlms_ros.cli.main import app
from robovlms_ros.data.folder.reader import open_dataset


def import_bag(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["import-bag", *map(str, arguments)])


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    with bags.bag(tmp_path / "bag") as writer:
        for i in range(6):
            writer.put("/camera", bags.image(bags.picture(i), i / 10), i / 10 + 0.02)
            writer.put("/action", bags.action(bags.rows(6)[i], i / 10, sequence=i + (i > 3)), i / 10 + 0.06)
            writer.put("/twist", bags.twist([0.1, 0, 0], [0, 0, 0.2], i / 10), i / 10 + 0.07)
            writer.put("/gripper", bags.numbers(0.8 * (i > 2)), i / 10 + 0.08)
    return tmp_path / "bag"


def test_a_bag_becomes_a_dataset_and_what_is_left_out_is_shown(recorded: Path, tmp_path: Path) -> None:
    done = import_bag(recorded, "--out", tmp_path / "set", "--encoding", "png")
    assert done.exit_code == 0, done.output
    assert "a gap in the" in done.stdout
    assert "2 episodes, 6 steps" in done.stdout
    read = open_dataset(tmp_path / "set")
    np.testing.assert_array_equal(read[1].image("static", 1), bags.picture(5))
    assert read.info.origin.options["slop"] == 0.05


def test_options_reach_the_reader(recorded: Path, tmp_path: Path) -> None:
    options = ["--action", "/twist", "--instruction", "open the drawer", "--frame", "base_link", "--resize", 16]
    gripper = ["--gripper", "/gripper", "--gripper-closed", 0.8, "--gripper-open", 0, "--gripper-initial", 0.5]
    done = import_bag(recorded, "--out", tmp_path / "set", "--rotation-format", "axis_angle", *options, *gripper)
    assert done.exit_code == 0, done.output
    read = open_dataset(tmp_path / "set")
    assert (read.frame, read.rotation_format, read[0].instruction) == (
        "base_link",
        "axis_angle",
        "open the drawer",
    )
    np.testing.assert_allclose(read[0].actions[4], [0.01, 0, 0, 0, 0, 0.02, 0], atol=1e-8)
    np.testing.assert_allclose(read[0].actions[0, 6], 1.0)
    assert read[0].image("static", 0).shape == (16, 16, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--image", "/front"], r"no message on '/front'; it holds /action \(6\), /camera \(6\)"),
        (["--gripper-closed", "1"], "--gripper: .*closed and open are both 1"),
        (["--rotation-format", "euler"], "--rotation-format: Input should be 'rpy' or 'axis_angle'"),
        (["--three-channel-order", "gbr"], "--three-channel-order"),
    ],
)
def test_mistakes_are_errors_that_name_the_option(
    recorded: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    failed = import_bag(recorded, "--out", tmp_path / "set", *arguments)
    assert failed.exit_code == 1
    with pytest.raises(ValueError, match=message):
        raise failed.exception or AssertionError
