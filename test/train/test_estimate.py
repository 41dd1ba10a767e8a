"""What a run is said to take is what it takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from training_sets import last_weights, make_config, make_source, run_quietly

from robovlms_ros.policy.preprocess import ImagePreprocessor
from robovlms_ros.train.engine import make_accelerator
from robovlms_ros.train.estimate import Estimate, estimate, room_for_checkpoints
from robovlms_ros.train.model_source import load_model
from robovlms_ros.train.network import TrainingNetwork
from robovlms_ros.train.plan import TrainingPlan, make_plan

FIELDS: dict[str, Any] = {
    "parameters": 10,
    "trained": 5,
    "weights": 4000,
    "gradients": 2000,
    "optimizer": 4000,
    "activations": 100,
    "checkpoint": 6000,
    "step": 0.2,
    "read": 0.3,
    "workers": 0,
    "steps": 100,
}


def measured(output: Path, **sections: Any) -> tuple[TrainingNetwork, TrainingPlan, Estimate]:
    config = make_config(output, **sections)
    plan = make_plan(config, output.with_name("scratch"), sources=[make_source(4, 4)])
    model = load_model(plan.source, 0)
    preprocess = ImagePreprocessor(model.config.image_size, model.image_mean, model.image_std)
    network = TrainingNetwork(model, preprocess)
    return network, plan, estimate(make_accelerator("float32", plan.order.accumulate), network, plan)


def test_sizes_are_those_of_the_weights_and_of_the_checkpoint_on_disk(tmp_path: Path) -> None:
    network, plan, found = measured(tmp_path / "run")
    run_quietly(plan.config)
    trained = last_weights(tmp_path / "run").values()
    assert found.trained == sum(weight.numel() for weight in trained)
    assert found.parameters == sum(weight.numel() for weight in network.parameters()) > found.trained
    assert (found.weights, found.gradients) == (4 * found.parameters, 4 * found.trained)
    files = (tmp_path / "run" / "checkpoints" / "step-00000004").iterdir()
    on_disk = sum(path.stat().st_size for path in files)
    assert found.checkpoint == pytest.approx(on_disk, rel=0.02)
    assert found.steps == 4
    assert found.step > 0
    assert found.read > 0
    assert found.unused == ()


def test_measuring_changes_nothing(tmp_path: Path) -> None:
    network, _, _ = measured(tmp_path / "run")
    plan = make_plan(make_config(tmp_path / "other"), tmp_path / "s", sources=[make_source(4, 4)])
    fresh = load_model(plan.source, 0)
    assert all(weight.grad is None for weight in network.parameters())
    weights = fresh.state_dict()
    assert all(torch.equal(weights[name], weight) for name, weight in network.vla.state_dict().items())


def test_activations_grow_with_the_batch_and_time_with_what_is_accumulated(tmp_path: Path) -> None:
    _, _, small = measured(tmp_path / "small", optim={"batch_size": 2})
    _, _, large = measured(tmp_path / "large", optim={"batch_size": 4})
    assert large.activations == 2 * small.activations > 0
    assert large.memory - small.memory == small.activations


def test_weights_that_no_loss_reaches_are_named(tmp_path: Path) -> None:
    network, plan, _ = measured(tmp_path / "run")
    network.vla.register_parameter("idle", torch.nn.Parameter(torch.zeros(3)))
    found = estimate(make_accelerator("float32", 1), network, plan)
    assert "vla.idle" in found.unused
    assert any("no loss reaches" in line and "idle" in line for line in found.lines())


def test_the_slower_of_reading_and_computing_sets_the_pace() -> None:
    alone = Estimate(**FIELDS)
    assert alone.seconds == pytest.approx(100 * 0.5)
    assert replace(alone, workers=1).seconds == pytest.approx(100 * 0.3)
    assert replace(alone, workers=3).seconds == pytest.approx(100 * 0.2)
    assert "reading the images sets the pace" in replace(alone, workers=1).lines()[3]
    assert "the network sets the pace" in replace(alone, workers=3).lines()[3]


def test_a_disk_that_is_too_small_is_told_beforehand(tmp_path: Path) -> None:
    _, plan, found = measured(tmp_path / "run")
    assert room_for_checkpoints(tmp_path / "run", found, plan) == ""
    warning = room_for_checkpoints(tmp_path / "not" / "there", replace(found, checkpoint=10**16), plan)
    assert "lower checkpoints.keep_last" in warning
    # Two last ones, the best one, and one that is being written.
    assert "40000000.0 GB" in warning
