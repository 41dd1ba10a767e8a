"""The proof that all of it learns: eight episodes by heart, by the commands that a user gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from training_sets import losses, make_source
from typer.testing import CliRunner

from robovlms_ros.cli.main import app
from robovlms_ros.data.convert import convert
from robovlms_ros.data.folder.format import ImageFormat, Origin

RUN = {
    "robot": "calvin",
    "model": {
        "untrained": {"window": 2, "chunk": 2, "image_size": 28},
        "overrides": {"act_head": {"type": "FCDecoder"}, "train_setup": {"train_vision": True}},
        "new_head": True,
    },
    "data": {"workers": 0},
    "optim": {
        "steps": 280,
        "batch_size": 12,
        "learning_rate": 1e-3,
        "schedule": "half-cosine",
        "min_lr_scale": 0.0,
        "warmup_steps": 10,
        "dropout": False,
    },
    "log": {"every": 20, "tensorboard": True},
    "checkpoints": {"every": 280},
}


def robovlms(*arguments: object) -> None:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output


@pytest.mark.timeout(900)  # half a minute, but on a busy machine it must not fail
def test_a_small_kosmos_learns_eight_episodes_by_heart(tmp_path: Path) -> None:
    origin = Origin(importer="test", path="memory")
    convert(make_source(8, 4), tmp_path / "dataset", origin, images=ImageFormat(encoding="png"))
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(RUN))
    run, model = tmp_path / "run", tmp_path / "model"
    robovlms(
        *("train", tmp_path / "run.yaml", "--set", f"output={run}", "--set", f"data.train={tmp_path / 'dataset'}")
    )
    # Means of 20 steps each.
    first, *_, last = losses(run)
    assert last < first / 100

    # And it does what was recorded when it runs as on a robot.
    robovlms("pack", run, model)
    robovlms("evaluate", "offline", model, tmp_path / "dataset", "--json", tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["episodes"] == 8
    assert found["gripper_accuracy"] == 1
    for name, numbers in found["dimensions"].items():
        assert numbers["mean_error"] < 0.1 * numbers["still_error"], name
