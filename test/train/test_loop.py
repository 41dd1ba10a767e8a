"""What an optimiser step does, and what stops a run."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference import make_model
from rich.console import Console
from training_sets import (
    CALVIN,
    last_weights,
    losses,
    make_config,
    make_dataset,
    make_episode,
    make_source,
    run_quietly,
)

from robovlms_ros.data.episodes import MemorySource
from robovlms_ros.model.discrete_prompt import IGNORED_LABEL
from robovlms_ros.model.trainable import set_trainable
from robovlms_ros.policy.preprocess import ImagePreprocessor
from robovlms_ros.train.batch import Collate
from robovlms_ros.train.diverged import DivergenceError
from robovlms_ros.train.engine import make_accelerator
from robovlms_ros.train.loop import LoopSettings, TrainingLoop
from robovlms_ros.train.network import TrainingNetwork
from robovlms_ros.train.order import TrainingOrder
from robovlms_ros.train.reporting import Reporter
from robovlms_ros.train.schedules import Schedule


class Recorder(Reporter):
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.logged: list[tuple[int, dict[str, float]]] = []

    def log(self, step: int, metrics: Any) -> None:
        self.logged.append((step, dict(metrics)))


class NoHooks:
    """Measures nothing and saves nothing, but notes when it was asked to."""

    def __init__(self) -> None:
        self.validated: list[int] = []
        self.saved: list[tuple[int, bool]] = []

    def validate(self, step: int) -> dict[str, float]:
        self.validated.append(step)
        return {"val_loss": 1.0 / step}

    def save(self, step: int, metrics: Any, last: bool) -> None:
        assert metrics == {"val_loss": 1.0 / step}
        self.saved.append((step, last))


class Bench:
    """A loop over a tiny model, with stochastic gradient descent so that a step shows its gradient."""

    def __init__(
        self, batch_size: int = 4, accumulate: int = 1, source: MemorySource | None = None, **settings: Any
    ) -> None:
        self.model = copy.deepcopy(make_model("kosmos"))
        set_trainable(self.model)
        dataset = make_dataset(self.model, source or make_source(3, [3, 4, 6]))
        preprocess = ImagePreprocessor(28, self.model.image_mean, self.model.image_std)
        network = TrainingNetwork(self.model, preprocess, dropout=False)
        accelerator = make_accelerator("float32", accumulate)
        self.optimizer = torch.optim.SGD([w for w in network.parameters() if w.requires_grad], lr=0.0)
        self.order = TrainingOrder(len(dataset), batch_size, 0, accumulate)
        prepared, optimizer = accelerator.prepare(network, self.optimizer)
        self.reporter, self.hooks = Recorder(), NoHooks()
        defaults = LoopSettings(
            steps=2, learning_rate=0.1, schedule=Schedule("constant", 2), clip=0.0, log_every=1
        )
        self.loop = TrainingLoop(
            *(accelerator, prepared, optimizer, dataset),
            Collate(self.model.tokenizer.pad_token_id, IGNORED_LABEL),
            *(self.order, replace(defaults, **settings), self.hooks, self.reporter),
        )

    def weights(self) -> torch.Tensor:
        return torch.cat([w.detach().ravel() for w in self.model.parameters() if w.requires_grad])


def change(bench: Bench) -> torch.Tensor:
    before = bench.weights()
    bench.loop.run()
    return bench.weights() - before


def test_accumulated_micro_batches_are_one_large_batch() -> None:
    whole = Bench(4, 1)
    changed = change(whole)
    # accelerate counts micro-batches in one place per process.
    parts = Bench(2, 2)
    torch.testing.assert_close(change(parts), changed, atol=1e-6, rtol=1e-4)
    for name in ("train_loss", "grad_norm"):
        one, other = (
            [metrics[name] for _, metrics in bench.reporter.logged if name in metrics] for bench in (whole, parts)
        )
        assert len(one) == 2
        assert one == pytest.approx(other, abs=1e-6)


def test_the_gradient_is_really_clipped_and_not_where_clipping_is_off() -> None:
    free = change(Bench(steps=1))
    assert free.norm() > 0.1 * 0.05
    clipped = change(Bench(steps=1, clip=0.001, learning_rate=10.0))
    assert clipped.norm().item() == pytest.approx(10 * 0.001, rel=1e-3)
    assert torch.nn.functional.cosine_similarity(clipped, free, dim=0) > 0.999


def test_the_learning_rate_follows_the_schedule() -> None:
    bench = Bench(steps=4, schedule=Schedule("constant", 4, warmup=2))
    bench.loop.run()
    rates = [metrics["learning_rate"] for step, metrics in bench.reporter.logged if "learning_rate" in metrics]
    assert rates == pytest.approx([0, 0.05, 0.1, 0.1])
    assert bench.optimizer.param_groups[0]["lr"] == pytest.approx(0.1)
    # With a rate of 0 nothing is learned.
    assert not change(Bench(steps=1, schedule=Schedule("constant", 4, warmup=2))).any()


def test_it_validates_and_saves_when_it_should_and_what_is_saved_was_measured() -> None:
    bench = Bench(2, steps=7, validate_every=2, save_every=3, log_every=100)
    assert bench.loop.run() == 7
    assert bench.hooks.validated == [2, 3, 4, 6, 7]
    assert bench.hooks.saved == [(3, False), (6, False), (7, True)]
    assert [step for step, metrics in bench.reporter.logged if "train_loss" in metrics] == [7]


def test_a_loop_that_is_told_to_stop_saves_and_returns() -> None:
    bench = Bench(2, steps=7, save_every=100)
    bench.loop.stop()
    assert bench.loop.run() == 1
    assert bench.hooks.saved == [(1, True)]


def test_logged_means_are_those_of_the_steps_since_the_last_line() -> None:
    every, second = Bench(2, steps=4), Bench(2, steps=4, log_every=2)
    for bench in (every, second):
        bench.loop.run()
    single = [m["train_loss"] for _, m in every.reporter.logged if "train_loss" in m]
    pairs = [m["train_loss"] for _, m in second.reporter.logged if "train_loss" in m]
    assert pairs == pytest.approx([np.mean(single[:2]), np.mean(single[2:])], abs=1e-6)
    assert all(m["samples_per_second"] > 0 for _, m in second.reporter.logged if "train_loss" in m)


def poisoned() -> MemorySource:
    """A recording whose state is no number, which a model with a state encoder reads."""
    episodes = [make_episode(n, 4) for n in range(3)]
    states = episodes[1].states
    assert states is not None
    source = MemorySource("memory", episodes, "rpy", CALVIN.frame)
    object.__setattr__(episodes[1], "states", np.where(np.arange(4)[:, None] == 3, np.nan, states))
    return source


def test_a_loss_that_is_no_number_names_its_episode_and_steps_and_changes_nothing(tmp_path: Path) -> None:
    config = make_config(
        tmp_path / "run",
        model={
            "untrained": {"window": 2, "chunk": 2, "image_size": 28},
            "overrides": {"state_encoder": {"arm_dim": 6}},
        },
        checkpoints={"every": 1},
    )
    with pytest.raises(DivergenceError, match=r"training step \d: .* in episode memory/e1, steps 2 to 3\. The"):
        run_quietly(config, poisoned())
    if (tmp_path / "run" / "checkpoints").is_dir() and list((tmp_path / "run" / "checkpoints").iterdir()):
        assert all(weight.isfinite().all() for weight in last_weights(tmp_path / "run").values())


def test_a_gradient_that_is_too_large_is_told_from_bad_data() -> None:
    bench = Bench(steps=1)
    with torch.no_grad():
        # The loss is large, and the gradient in front of the first of these layers infinite.
        for layer, factor in ((2, 1e-20), (4, 1e20), (6, 1e25)):
            bench.model.act_head.gripper.mlp[layer].weight.mul_(factor)
    before = bench.weights()
    with pytest.raises(DivergenceError, match="in no single window: the gradient is too large"):
        bench.loop.run()
    assert torch.equal(bench.weights(), before)


def test_bfloat16_trains_and_keeps_float32_weights(tmp_path: Path) -> None:
    # accelerate's precision is one per process.
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()
    try:
        run_quietly(make_config(tmp_path / "bf16", optim={"precision": "bfloat16"}))
    finally:
        AcceleratorState._reset_state()
    run_quietly(make_config(tmp_path / "fp32"))
    assert all(weight.dtype == torch.float32 for weight in last_weights(tmp_path / "bf16").values())
    assert losses(tmp_path / "bf16") == pytest.approx(losses(tmp_path / "fp32"), rel=0.05)
    assert losses(tmp_path / "bf16") != losses(tmp_path / "fp32")


def test_the_best_checkpoint_by_held_out_loss_is_kept(tmp_path: Path) -> None:
    config = make_config(
        tmp_path / "run",
        data={"validation_fraction": 0.25},
        optim={"steps": 6, "learning_rate": 0.05, "batch_size": 2},
        checkpoints={"every": 1, "keep_last": 1},
    )
    run_quietly(config)
    measured = losses(tmp_path / "run", "val_loss")
    assert len(measured) == 6
    kept = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    best = int(np.argmin(measured)) + 1
    assert kept == sorted({f"step-{best:08d}", "step-00000006"})


def test_lines_for_people_say_what_happens(tmp_path: Path) -> None:
    console = Console(record=True, width=200, force_terminal=False, file=(tmp_path / "said").open("w"))
    run_quietly(make_config(tmp_path / "run"), console=console)
    text = console.export_text()
    for part in ("4 episodes, 16 steps, 12 windows", "parameters", "memory", "disk", "time", "step 4/4  loss 0."):
        assert part in text
