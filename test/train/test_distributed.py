"""Two processes that share a batch train as one that has all of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from train_in_processes import SOURCE_STEPS, sections
from training_sets import last_weights, losses, make_config, make_source, run_quietly

from robovlms_ros.model.errors import ConfigError
from robovlms_ros.train.engine import process_count

SCRIPT = Path(__file__).with_name("train_in_processes.py")
LAUNCH = (
    *("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
    *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"),
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes under ``accelerate launch``."""
    output = tmp_path_factory.mktemp("distributed") / "two"
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, *LAUNCH, str(SCRIPT), str(output), "2"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr[-3000:]
    return output


def test_the_curve_is_that_of_one_process_with_the_doubled_batch(shared: Path, tmp_path: Path) -> None:
    run_quietly(make_config(tmp_path / "one", **sections(4)), make_source(steps=SOURCE_STEPS))
    for name in ("train_loss", "train_loss_gripper_act", "grad_norm", "val_loss", "val_acc_gripper_act"):
        one, two = losses(tmp_path / "one", name), losses(shared, name)
        assert len(one) == len(two) > 1
        assert two == pytest.approx(one, abs=1e-5)
    weights, others = last_weights(tmp_path / "one"), last_weights(shared)
    assert all(torch.allclose(weights[name], others[name], atol=1e-4) for name in weights)


def test_processes_that_do_not_know_of_each_other_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="2 processes were launched, but accelerate sees 1"):
        process_count()
