"""The loop: batches in, optimiser steps, and now and then a measurement, a checkpoint, a line in the log.

Engines do the hard parts: accelerate places the network on one or many devices, in the precision asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from robovlms_ros.train.batch import Batch
from robovlms_ros.train.diverged import explain_divergence
from robovlms_ros.train.network import TrainingNetwork
from robovlms_ros.train.order import BatchSampler, TrainingOrder, seed_step
from robovlms_ros.train.reading import batches as read
from robovlms_ros.train.reporting import Reporter
from robovlms_ros.train.schedules import Schedule
from robovlms_ros.train.window_dataset import WindowDataset


@dataclass(frozen=True)
class LoopSettings:
    """``steps``: optimiser steps of the whole run. ``*_every``: in such steps. ``clip``: 0 does not clip."""

    steps: int
    learning_rate: float
    schedule: Schedule
    clip: float = 1.0
    seed: int = 0
    log_every: int = 10
    validate_every: int = 500
    save_every: int = 1000


class Hooks(Protocol):
    """What a loop calls; both are called in every process."""

    def validate(self, step: int) -> Mapping[str, float]:
        """Measure on held-out episodes after ``step`` steps; nothing where there are none."""

    def save(self, step: int, metrics: Mapping[str, float], last: bool) -> None:
        """Write a checkpoint of ``step`` steps."""


class TrainingLoop:
    """Trains a network until its steps are done or it is told to stop.

    A step's loss is the mean over all targets of the whole step, however these are spread over micro-batches and
    processes: a micro-batch counts by the targets that it has.

    Args:
        accelerator: of accelerate, made with ``order.accumulate`` steps of accumulation.
        network: prepared by it.
        optimizer: prepared by it; its learning rate is set here.
        dataset: the windows.
        collate: samples -> `Batch`.
        order: which windows when.
        settings: how long and how.
        hooks: validation and checkpoints.
        reporter: where measurements go.
        workers: processes that read images.
    """

    def __init__(
        self,
        accelerator: Any,
        network: nn.Module,
        optimizer: Any,
        dataset: WindowDataset,
        collate: Callable[..., Batch],
        order: TrainingOrder,
        settings: LoopSettings,
        hooks: Hooks,
        reporter: Reporter,
        workers: int = 0,
    ) -> None:
        self._accelerator = accelerator
        self._network = network
        self._plain: TrainingNetwork = accelerator.unwrap_model(network)
        self._optimizer = optimizer
        self._dataset, self._collate, self._order, self._workers = dataset, collate, order, workers
        self._settings = settings
        self._hooks = hooks
        self._reporter = reporter
        self._weights = [weight for weight in network.parameters() if weight.requires_grad]
        self._stop = False

    def stop(self) -> None:
        """Finish the step at hand, save, and return; may be called from a signal handler."""
        self._stop = True

    def run(self, first: int = 0) -> int:
        """Train from optimiser step ``first``; returns how many are done in all."""
        settings, step = self._settings, first
        batches = self._batches(first)
        meter = _Meter(self._order.per_step)
        saved = first
        self._network.train()
        with self._reporter.showing(first, settings.steps):
            while step < settings.steps:
                measured, stopping = self._step(step, batches)
                step += 1
                meter.add(measured)
                if step % settings.log_every == 0 or step == settings.steps:
                    self._reporter.log(step, self._measured(meter, step))
                last = step == settings.steps or stopping
                saving = step % settings.save_every == 0 or last
                # What is kept is measured as it is.
                metrics = self._validate(step) if saving or step % settings.validate_every == 0 else {}
                if saving:
                    self._hooks.save(step, metrics, last)
                    saved = step
                if metrics or saving:
                    meter.restart()
                self._reporter.advance(step)
                if stopping:
                    break
        assert saved == step  # nothing that was computed is lost
        return step

    def _validate(self, step: int) -> Mapping[str, float]:
        metrics = self._hooks.validate(step)
        self._network.train()
        if metrics:
            self._reporter.log(step, metrics)
        return metrics

    def _batches(self, first: int) -> Iterator[Batch]:
        keys = BatchSampler(self._order, first, self._settings.steps, self._accelerator.process_index)
        pin_memory = self._accelerator.device.type == "cuda"
        return read(self._dataset, keys, self._collate, self._workers, pin_memory)

    def _step(self, step: int, batches: Iterator[Batch]) -> tuple[dict[str, Tensor], bool]:
        """One optimiser step: the means of its losses on this process's share, weighted, and whether to stop."""
        accelerator, device = self._accelerator, self._accelerator.device
        given = [next(batches) for _ in range(self._order.accumulate)]
        counts = [self._plain.scored(batch) for batch in given]
        micro = [batch.to(device) for batch in given]
        total, stopping = self._agree(sum(counts), self._stop)
        rate = self._settings.learning_rate * self._settings.schedule(step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        # Whatever else has drawn numbers since, this step draws the same.
        seed_step(self._settings.seed, step, accelerator.process_index)
        measured: dict[str, Tensor] = {}
        norm: Tensor | None = None
        for batch, count in zip(micro, counts, strict=True):
            with accelerator.accumulate(self._network):
                losses = self._network(batch)
                # Processes are averaged over, and accelerate divides by the micro-batches.
                share = count / total
                accelerator.backward(losses["loss"] * (share * accelerator.num_processes * len(micro)))
                if accelerator.sync_gradients:
                    norm = accelerator.clip_grad_norm_(self._weights, self._settings.clip or torch.inf)
                    self._refuse_divergence(step, norm, losses["loss"], micro)
                self._optimizer.step()
                self._optimizer.zero_grad()
            for name, value in losses.items():
                # Some are counted on the CPU.
                part = share * value.detach().to(device, torch.float32)
                measured[name] = measured[name] + part if name in measured else part
        measured["grad_norm"] = torch.as_tensor(0.0 if norm is None else norm, device=device)
        return measured, stopping

    def _agree(self, count: int, stop: bool) -> tuple[float, bool]:
        """The targets of all processes' shares of a step, and whether one of them is to stop."""
        if self._accelerator.num_processes == 1:
            return float(count), stop
        shared = torch.tensor([float(count), float(stop)], device=self._accelerator.device)
        total, stopping = self._accelerator.reduce(shared, "sum").tolist()
        return total, stopping > 0

    def _refuse_divergence(self, step: int, norm: Tensor | None, loss: Tensor, micro: list[Batch]) -> None:
        """The norm is one number over all processes, so that all of them stop."""
        if not torch.isfinite(loss.detach() if norm is None else torch.as_tensor(norm)).all():
            raise explain_divergence(self._accelerator, self._plain, step, micro, self._dataset.table)

    def _measured(self, meter: _Meter, step: int) -> dict[str, float]:
        values, speed = meter.take(self._accelerator)
        rate = self._settings.learning_rate * self._settings.schedule(step - 1)
        epoch = step / self._order.steps_per_epoch
        return values | {"learning_rate": rate, "epoch": epoch, "samples_per_second": speed}


class _Meter:
    """Means over the steps since it was last asked, and how fast they were."""

    def __init__(self, per_step: int) -> None:
        self._per_step = per_step
        self._sums: dict[str, Tensor] = {}
        self._steps = 0
        self.restart()

    def restart(self) -> None:
        """Leave out of the speed what was done beside training."""
        self._began, self._timed = time.perf_counter(), 0

    def add(self, measured: Mapping[str, Tensor]) -> None:
        for name, value in measured.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value
        self._steps += 1
        self._timed += 1

    def take(self, accelerator: Any) -> tuple[dict[str, float], float]:
        names = sorted(self._sums)
        stacked = torch.stack([self._sums[name] / self._steps for name in names])
        # Shares of one mean add up; the norm is the same everywhere.
        added = accelerator.reduce(stacked, "sum").tolist()
        values = {f"train_{name}": value for name, value in zip(names, added, strict=True)}
        values["grad_norm"] = values.pop("train_grad_norm") / accelerator.num_processes
        speed = self._timed * self._per_step / max(time.perf_counter() - self._began, 1e-9)
        self._sums.clear()
        self._steps = 0
        self.restart()
        return values, speed
