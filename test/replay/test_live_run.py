"""The whole path: bag, player, both nodes as processes over DDS, actions back."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from robovlms_ros.policy.untrained import make_untrained
from robovlms_ros.replay.bag import open_bag, write_camera_bag
from robovlms_ros.replay.footage import load_footage
from robovlms_ros.replay.live_run import LiveRunError, run_live

ROBOVLMS = (sys.executable, "-c", "from robovlms_ros.cli.main import main; main()")
TOPICS = {"image_topic": "/camera/image_raw", "instruction_topic": "/instruction"}


@pytest.fixture(scope="module")
def bag_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("live") / "bag"
    write_camera_bag(path, load_footage().frames[:6], "pick up the red block", rate=5.0)
    return path


def test_every_image_of_a_bag_gives_one_action_that_the_next_one_knows_of(bag_path: Path, tmp_path: Path) -> None:
    model = make_untrained(tmp_path / "model", action_encoder=True)
    with open_bag(bag_path) as bag:
        run = run_live(bag, model, **TOPICS)

    assert len(run.image_stamps_ns) == 6
    assert [action.stamp_ns for action in run.actions] == run.image_stamps_ns
    assert run.unanswered == []
    assert all(0 < action.latency < 1.0 for action in run.actions)
    assert [action.message.sequence for action in run.actions] == list(range(6))
    assert {action.message.instruction for action in run.actions} == {"pick up the red block"}
    assert [sum(window.valid) for window in run.histories] == [1, 2, 3, 4, 5, 6]
    newest = run.histories[-1]
    assert list(newest.actions[-7:]) == list(run.actions[-1].message.model_action)


def test_a_model_that_is_not_there_ends_the_run_with_what_the_node_logged(bag_path: Path, tmp_path: Path) -> None:
    with open_bag(bag_path) as bag, pytest.raises(LiveRunError, match=str(tmp_path / "nothing")):
        run_live(bag, tmp_path / "nothing", startup_timeout=6.0, **TOPICS)


def test_the_demo_command_ends_with_its_summary_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [*ROBOVLMS, "demo-replay", "--rate", "8", "--out", tmp_path / "out"],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "COLUMNS": "120"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("demo: 28 images -> 28 actions, latency p50 ")


def test_the_demo_command_names_footage_that_does_not_exist(tmp_path: Path) -> None:
    done = subprocess.run(
        [*ROBOVLMS, "demo-replay", "--footage", tmp_path / "none.webp"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert "none.webp does not exist" in done.stdout
