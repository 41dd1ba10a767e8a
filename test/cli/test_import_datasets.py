from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import calvin_folder
import lerobot_folder
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from robovlms_ros.cli.main import app
from robovlms_ros.data.errors import DataError
from robovlms_ros.data.folder.reader import open_dataset


def data(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


def test_a_calvin_split_becomes_a_dataset(tmp_path: Path) -> None:
    segments = [("push", 0, 5), ("pull", 5, 9), ("turn", 3, 9)]
    split = calvin_folder.write_split(tmp_path / "task_D_D" / "training", segments)
    done = data("import-calvin", split, "--out", tmp_path / "set", "--episodes", "1:", "--resize", 16)
    assert done.exit_code == 0, done.output
    assert "2 episodes, 10 steps, cameras static, hand" in done.stdout
    read = open_dataset(tmp_path / "set")
    assert [episode.instruction for episode in read] == ["pull", "turn"]
    assert read[0].image("hand", 0).shape == (16, 16, 3)


def test_a_lerobot_dataset_becomes_a_dataset_by_its_mapping(tmp_path: Path) -> None:
    root = lerobot_folder.write(
        tmp_path / "arm", [lerobot_folder.recorded(n, 6) for n in range(2)], version="v3.0"
    )
    printed = data("import-lerobot", root, "--print-mapping")
    assert printed.exit_code == 0
    (tmp_path / "arm.yaml").write_text(printed.stdout)
    done = data("import-lerobot", root, "--mapping", tmp_path / "arm.yaml", "--out", tmp_path / "set")
    assert done.exit_code == 0, done.output
    assert "2 episodes, 12 steps, cameras static" in done.stdout
    assert open_dataset(tmp_path / "set").info.origin.options["mapping"]["frame"] == "base_link"


def test_without_a_mapping_it_says_how_to_begin(tmp_path: Path) -> None:
    failed = data("import-lerobot", tmp_path, "--out", tmp_path / "set")
    assert failed.exit_code == 1
    with pytest.raises(DataError, match=r"--print-mapping > mapping\.yaml"):
        raise failed.exception or AssertionError


def test_a_finished_import_is_not_made_twice(tmp_path: Path) -> None:
    split = calvin_folder.write_split(tmp_path / "training", [("push", 0, 5), ("pull", 5, 9)])
    command = ["import-calvin", split, "--out", tmp_path / "set"]
    assert data(*command).exit_code == 0
    again = data(*command)
    assert isinstance(again.exception, DataError)
    assert "finished dataset" in str(again.exception)


def wait_for_reader(pipe: Path, seconds: float = 60) -> int:
    """A descriptor of ``pipe`` to write to, once somebody opens it to read."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            time.sleep(0.01)
    pytest.fail("nobody reads the frame")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_an_import_that_is_interrupted_goes_on_when_the_command_is_repeated(tmp_path: Path) -> None:
    split = calvin_folder.write_split(tmp_path / "training", [("push", 0, 5), ("pull", 5, 9), ("turn", 9, 12)])
    frame = calvin_folder.frame_path(split, 7)
    frame.unlink()
    os.mkfifo(frame)  # reading this frame takes as long as we like
    command = ["data", "import-calvin", str(split), "--out", str(tmp_path / "set"), "--encoding", "png"]
    program = "from robovlms_ros.cli.main import main; main()"
    with subprocess.Popen([sys.executable, "-c", program, *command], stderr=subprocess.PIPE, text=True) as process:
        descriptor = wait_for_reader(frame)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        os.close(descriptor)
    assert process.returncode == 130
    assert "repeat the command to go on" in errors
    partial = open_dataset(tmp_path / "set")
    assert ([episode.instruction for episode in partial], partial.info.complete) == (["push"], False)

    frame.unlink()
    np.savez(frame, **calvin_folder.frame(7))  # type: ignore[arg-type]
    assert data(*command[1:]).exit_code == 0
    whole = open_dataset(tmp_path / "set")
    assert [episode.instruction for episode in whole] == ["push", "pull", "turn"]
    assert [len(episode) for episode in whole] == [5, 4, 3]
