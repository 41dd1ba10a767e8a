"""A run that was ended, in whatever way, and taken up again is the run that was not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from training_sets import last_weights, losses, make_config, run_quietly

from robovlms_ros.model.errors import ConfigError
from robovlms_ros.train.run_folder import RunFolder
from robovlms_ros.train.state import OPTIMIZER, read_tensors

# All that could differ: dropout, random shifts, dropped history, accumulation, a schedule, several epochs.
EVERYTHING: dict[str, Any] = {
    "model": {
        "untrained": {"window": 2, "chunk": 2, "image_size": 28, "action_encoder": True},
        "overrides": {"act_head": {"num_layers": 1}},
        "new_head": True,
    },
    "data": {"shift": {"static": 2}, "history_dropout": 0.3, "validation_fraction": 0.25},
    "optim": {"steps": 6, "batch_size": 2, "accumulate": 2, "schedule": "half-cosine", "warmup_steps": 2},
    "validation": {"every": 2},
    "checkpoints": {"every": 3, "keep_last": 5},
}


def assert_same_run(first: Path, second: Path) -> None:
    one, other = last_weights(first), last_weights(second)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert losses(first) == losses(second)
    assert losses(first, "val_loss") == losses(second, "val_loss")
    states = [
        read_tensors(RunFolder.open(run).checkpoints().find("last").folder, OPTIMIZER) for run in (first, second)
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    output = tmp_path_factory.mktemp("runs") / "whole"
    run_quietly(make_config(output, **EVERYTHING))
    return output


def test_a_run_that_died_goes_on_from_its_last_checkpoint_as_if_it_had_not(whole: Path, tmp_path: Path) -> None:
    output = tmp_path / "died"
    shutil.copytree(whole, output)
    # It came as far as step 5 and had saved step 3; of the last line in its log it wrote a half.
    shutil.rmtree(output / "checkpoints" / "step-00000006")
    (output / "checkpoints" / ".step-00000006").mkdir()
    lines = (output / "metrics.jsonl").read_text().splitlines()
    (output / "metrics.jsonl").write_text("\n".join(lines[:-3]) + '\n{"step": 6, "tr')
    config = make_config(output, **EVERYTHING)
    torch.manual_seed(99)
    assert run_quietly(config, resume=True).steps == 6
    assert_same_run(whole, output)
    assert not (output / "checkpoints" / ".step-00000006").exists()


class Interrupting(Console):
    """Presses Ctrl-C, once, when it is told of step 2."""

    pressed = False

    def print(self, *objects: Any, **arguments: Any) -> None:
        if str(objects[0]).startswith("step 2/") and not self.pressed:
            self.pressed = True
            os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_ends_a_run_after_its_step_and_it_can_go_on(whole: Path, tmp_path: Path) -> None:
    config = make_config(tmp_path / "ended", **EVERYTHING)
    outcome = run_quietly(config, console=Interrupting(quiet=True))
    assert outcome.signal == signal.SIGINT
    assert 2 <= outcome.steps < 6
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    outcome = run_quietly(config, resume=True)
    assert (outcome.steps, outcome.signal) == (6, 0)
    one, other = last_weights(whole), last_weights(config.output)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_workers_change_nothing(whole: Path, tmp_path: Path) -> None:
    changed = EVERYTHING | {"data": EVERYTHING["data"] | {"workers": 2}}
    run_quietly(make_config(tmp_path / "workers", **changed))
    assert_same_run(whole, tmp_path / "workers")


def test_a_finished_run_has_nothing_left_to_do_and_may_be_made_longer(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "longer")
    before = last_weights(tmp_path / "longer")
    assert run_quietly(make_config(tmp_path / "longer", **EVERYTHING), resume=True).steps == 6
    assert all(torch.equal(before[name], weight) for name, weight in last_weights(tmp_path / "longer").items())
    longer = EVERYTHING | {"optim": EVERYTHING["optim"] | {"steps": 7}}
    assert run_quietly(make_config(tmp_path / "longer", **longer), resume=True).steps == 7
    assert len(losses(tmp_path / "longer")) == 7


def test_another_configuration_does_not_go_on_with_a_run(whole: Path) -> None:
    other = EVERYTHING | {"optim": EVERYTHING["optim"] | {"learning_rate": 0.5}, "seed": 3}
    with pytest.raises(ConfigError, match=r"begun with other values of seed, optim\.learning_rate"):
        run_quietly(make_config(whole, **other), resume=True)


def test_a_new_run_does_not_touch_an_old_one_or_anything_else(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="go on with it with --resume"):
        run_quietly(make_config(whole, **EVERYTHING))
    (tmp_path / "thesis.tex").write_text("all of it")
    with pytest.raises(ConfigError, match="holds no training run; choose another output"):
        run_quietly(make_config(tmp_path))
    with pytest.raises(ConfigError, match="holds no training run"):
        run_quietly(make_config(tmp_path / "nothing"), resume=True)


def test_a_run_without_a_checkpoint_is_begun_anew(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "early")
    for path in (tmp_path / "early" / "checkpoints").iterdir():
        shutil.rmtree(path)
    with pytest.raises(ConfigError, match="no checkpoint to go on from"):
        run_quietly(make_config(tmp_path / "early", **EVERYTHING), resume=True)


TRAINS_AND_SAVES_EVERY_STEP = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from training_sets import make_config, run_quietly
sections = {"checkpoints": {"every": 1}, "optim": {"steps": 10_000}}
run_quietly(make_config(Path(sys.argv[1]), **sections))
"""


@pytest.mark.timeout(300)
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_kill_9_in_the_middle_of_a_save_leaves_the_checkpoint_before_it(tmp_path: Path) -> None:
    output = tmp_path / "killed"
    command = [sys.executable, "-c", TRAINS_AND_SAVES_EVERY_STEP, str(output), str(Path(__file__).parent)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    checkpoints, end = output / "checkpoints", time.monotonic() + 240
    try:
        # A folder with a dot is one that is being written.
        while not (list(checkpoints.glob("step-*")) and list(checkpoints.glob(".step-*[0-9]"))):
            assert process.poll() is None, process.communicate()[1].decode()
            assert time.monotonic() < end
        process.kill()
    finally:
        process.kill()
        process.wait()
    store = RunFolder.open(output).checkpoints()
    before = store.find("last")
    assert read_tensors(before.folder, OPTIMIZER)
    sections = {"checkpoints": {"every": 1}, "optim": {"steps": before.step + 2}}
    assert run_quietly(make_config(output, **sections), resume=True).steps == before.step + 2
    # What came of it equals a run that was never killed.
    straight = make_config(tmp_path / "straight", optim={"steps": before.step + 2})
    run_quietly(straight)
    one, other = last_weights(output), last_weights(straight.output)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not list(checkpoints.glob(".step-*"))
