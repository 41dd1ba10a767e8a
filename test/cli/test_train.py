"""``robovlms train`` as a user runs it: what it says, what it leaves, and its exit status."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("accelerate")
from robovlms_ros.cli import main as command
from robovlms_ros.data.convert import convert
from robovlms_ros.data.episodes import ArrayEpisode, MemorySource
from robovlms_ros.data.folder.format import ImageFormat, Origin
from robovlms_ros.train.reporting import MetricsFile, read_metrics

Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four episodes for the profile ``calvin``."""
    random = np.random.default_rng(0)
    episodes = []
    for number in range(4):
        actions = random.uniform(-0.01, 0.01, (5, 7))
        actions[:, 6] = random.integers(0, 2, 5)
        images = {"static": random.integers(0, 256, (5, 28, 28, 3), dtype=np.uint8)}
        episodes.append(ArrayEpisode(f"{number}", "open the drawer", 1 / 30, actions, images))
    folder = tmp_path_factory.mktemp("data") / "drawer"
    source = MemorySource("drawer", episodes, "rpy", "world")
    convert(source, folder, Origin(importer="test", path="memory"), images=ImageFormat(encoding="png"))
    return folder


@pytest.fixture
def config(dataset: Path, tmp_path: Path) -> Path:
    """A run of six steps; its folder is ``run`` beside it."""
    content = {
        "output": str(tmp_path / "run"),
        "robot": "calvin",
        "model": {
            "untrained": {"window": 2, "chunk": 2, "image_size": 28},
            "overrides": {"act_head": {"num_layers": 1}},
            "new_head": True,
        },
        "data": {"train": str(dataset), "workers": 0},
        "optim": {"steps": 6, "batch_size": 4, "learning_rate": 1e-3},
        "feature_cache": {"mode": "off"},
        "checkpoints": {"every": 2},
        "log": {"every": 1, "tensorboard": False},
    }
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command in this process; gives exit status and standard error."""

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["robovlms", "train", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            command.main()
        return int(ended.value.code or 0), capsys.readouterr().err

    return run


def setting(key: str, value: object) -> tuple[str, str]:
    return "--set", f"{key}={value}"


def test_a_run_says_what_it_takes_and_how_it_goes_and_what_comes_next(
    train: Run, config: Path, tmp_path: Path
) -> None:
    code, said = train(config)
    assert code == 0, said
    for part in ("4 episodes, 20 steps", "memory", "step 6/6  loss", f"robovlms pack {tmp_path / 'run'} "):
        assert part in said
    assert [line["step"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]
    again, said = train(config)
    assert again == 1
    assert "--resume" in said


def test_a_dry_run_leaves_nothing(train: Run, config: Path, tmp_path: Path) -> None:
    code, said = train(config, "--dry-run")
    assert code == 0, said
    assert "activations" in said
    assert "nothing was trained" in said
    assert not (tmp_path / "run").exists()


def test_of_several_processes_the_first_one_talks(
    train: Run, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    code, said = train(config, "--dry-run")
    assert code == 0
    assert "nothing was trained" not in said


REFUSED: Mapping[str, tuple[tuple[str, ...], str]] = {
    "a misspelt key": (setting("optim.lerning_rate", 1), "did you mean 'learning_rate'"),
    "no such dataset": (setting("data.train", "nowhere"), "nowhere is no dataset folder"),
    "no such robot": (setting("robot", "r2d2"), "no robot profile 'r2d2'"),
    "a head that does not exist": (
        setting("model.overrides.act_head.type", "LSTMDecodr"),
        "'LSTMDecodr'; this installation has",
    ),
    "degenerate statistics": (setting("robot", "still.yaml"), "every q01 must be below its q99"),
    "nothing to go on with": (("--resume",), "holds no training run"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_one_line_and_exit_status_1(
    train: Run,
    config: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    robots = Path(__file__).parents[2] / "config" / "robots"
    profile = yaml.safe_load((robots / "widowx_bridge.yaml").read_text())
    profile["statistics"] = {"q01": [0.0] * 6, "q99": [0.0] * 6}
    Path("still.yaml").write_text(yaml.safe_dump(profile))
    code, said = train(config, *arguments)
    assert code == 1
    assert said.startswith("error: ")
    assert len(said.splitlines()) == 1
    assert message in said
    assert not (tmp_path / "run").exists()


def test_a_run_that_diverges_ends_with_1_and_keeps_the_checkpoints_before(
    train: Run, config: Path, tmp_path: Path
) -> None:
    wild = (*setting("optim.learning_rate", "1.0e30"), *setting("optim.clip", 0), *setting("checkpoints.every", 1))
    code, said = train(config, *wild)
    assert code == 1
    assert "the loss or its gradient is NaN or infinite, in all of its windows" in said
    assert "a lower optim.learning_rate" in said.splitlines()[-1]
    assert list((tmp_path / "run" / "checkpoints").glob("step-*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_with_its_own_status_and_what_is_said_then_goes_on(
    train: Run, config: Path, tmp_path: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = MetricsFile.write

    def interrupting(self: MetricsFile, step: int, metrics: Mapping[str, float]) -> None:
        write(self, step, metrics)
        if step == 3:
            os.kill(os.getpid(), number)

    changed = setting("optim.learning_rate", 0.002)
    with monkeypatch.context() as patched:
        patched.setattr(MetricsFile, "write", interrupting)
        code, said = train(config, *changed)
    assert code == 128 + number
    advice = said.splitlines()[-1].partition("go on with: robovlms train ")[2].split()
    assert advice == [str(tmp_path / "run" / "training.yaml"), "--resume"]
    code, said = train(*advice)
    assert code == 0, said
    assert "step 6/6" in said


def test_ctrl_c_before_the_first_step_is_no_traceback(
    train: Run, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("robovlms_ros.train.run.load_model", interrupted)
    code, said = train(config)
    assert code == 130
    assert len(said.splitlines()) == 1
    assert "stopped at once" in said


def test_memory_that_is_used_up_says_what_to_lower(
    train: Run, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from robovlms_ros.policy.compute import OUT_OF_MEMORY

    def used_up(*_: Any) -> None:
        raise OUT_OF_MEMORY("CUDA out of memory. Tried to allocate 2 GiB.\nmore")

    monkeypatch.setattr("robovlms_ros.train.run.estimate", used_up)
    code, said = train(config)
    assert code == 1
    assert "lower optim.batch_size and raise optim.accumulate" in said
    assert len(said.splitlines()) == 1


# The optimiser's state is larger than any other file of this run, so that is what does not fit.
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)), resource.RLIM_INFINITY))
from robovlms_ros.cli.main import main
main()
"""


@pytest.mark.timeout(600)
@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs limits on file sizes")
def test_a_disk_that_is_full_is_a_warning_on_the_way_and_an_error_at_the_end(
    train: Run, config: Path, tmp_path: Path
) -> None:
    code, said = train(config, *setting("output", tmp_path / "whole"))
    assert code == 0, said
    sizes = {path: path.stat().st_size for path in (tmp_path / "whole").rglob("*") if path.is_file()}
    largest = max(sizes, key=lambda path: sizes[path])
    assert largest.name == "optimizer.safetensors"
    limit = str(sizes[largest] - 1000)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, limit, "train", str(config)], capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 1
    assert done.stderr.count("cannot be written") == 3
    assert done.stderr.count("; training goes on") == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: checkpoint ")
    assert "Free some space" in last
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []


def test_a_disk_without_room_for_the_run_itself_is_one_line(
    train: Run, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "run" / "frozen.safetensors"))

    monkeypatch.setattr("robovlms_ros.train.run_folder.write_tensors", full)
    code, said = train(config)
    assert code == 1
    assert "No space left on device" in said
    assert "Free some space" in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "run").exists()
