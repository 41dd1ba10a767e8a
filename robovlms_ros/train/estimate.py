"""What a run will take, measured on a few batches before it begins."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robovlms_ros.train.batch import Batch
from robovlms_ros.train.network import TrainingNetwork
from robovlms_ros.train.plan import TrainingPlan

_TIMED = 2


@dataclass(frozen=True)
class Estimate:
    """Sizes in bytes, per process; times in seconds.

    ``step`` is what the network takes of an optimiser step (forward, backward, all micro-batches), ``read`` what
    one process needs to read the images of it; the slower of the two, workers counted, sets the pace.
    """

    parameters: int
    trained: int
    weights: int
    gradients: int
    optimizer: int
    activations: int
    checkpoint: int
    step: float
    read: float
    workers: int
    steps: int
    unused: tuple[str, ...] = ()
    """Trained weights that no loss reaches."""

    @property
    def memory(self) -> int:
        """All of it that is on the device at once."""
        return self.weights + self.gradients + self.optimizer + self.activations

    @property
    def seconds(self) -> float:
        """The whole run."""
        pace = self.step + self.read if self.workers == 0 else max(self.step, self.read / self.workers)
        return self.steps * pace

    def lines(self) -> list[str]:
        """For people."""
        slower = "the network" if self.step >= self.read / max(self.workers, 1) else "reading the images"
        pace = f"{slower} sets the pace" if self.workers else "one after the other"
        unused = f"no loss reaches {len(self.unused)} trained weights: {', '.join(self.unused[:3])}"
        return [
            f"parameters  {self.parameters / 1e6:.2f} M, trained {self.trained / 1e6:.2f} M",
            f"memory      about {_size(self.memory)} per process: weights {_size(self.weights)}, gradients "
            f"{_size(self.gradients)}, optimiser {_size(self.optimizer)}, activations {_size(self.activations)}",
            f"disk        {_size(self.checkpoint)} per checkpoint",
            f"time        about {_duration(self.seconds)} for {self.steps} steps: {self.step:.3f} s per step, and "
            f"{self.read:.3f} s of reading for {self.workers} workers; {pace}",
            *([f"unused      {unused}"] if self.unused else []),
        ]


def estimate(accelerator: Any, network: TrainingNetwork, plan: TrainingPlan, first: int = 0) -> Estimate:
    """Measure ``network``, which is on its device and whole in this process. Nothing of it is changed."""
    parameters = {id(weight): weight for weight in network.parameters()}.values()
    trained = [weight for weight in parameters if weight.requires_grad]
    weights = sum(map(_bytes, parameters))
    gradients = sum(map(_bytes, trained))
    # AdamW keeps two numbers per weight.
    optimizer = 2 * gradients
    began = time.perf_counter()
    keys = plan.order.micro_batches(first, accelerator.process_index)[0]
    batch = plan.collate([plan.train[key] for key in keys])
    read = (time.perf_counter() - began) * plan.order.accumulate
    batch = batch.to(accelerator.device)
    network.train()
    activations = _activations(accelerator, network, batch.rows([0])) * len(keys)
    step = _seconds(accelerator, network, batch) * plan.order.accumulate
    unused = tuple(name for name, w in network.named_parameters() if w.requires_grad and w.grad is None)
    network.zero_grad(set_to_none=True)
    return Estimate(
        parameters=sum(weight.numel() for weight in parameters),
        trained=sum(weight.numel() for weight in trained),
        weights=weights,
        gradients=gradients,
        optimizer=optimizer,
        activations=activations,
        checkpoint=gradients + optimizer,
        step=step,
        read=read,
        workers=plan.config.data.workers,
        steps=plan.loop.steps - first,
        unused=unused,
    )


def room_for_checkpoints(folder: Path, estimate: Estimate, plan: TrainingPlan) -> str:
    """A warning where the disk has no room for the checkpoints that are kept; else empty."""
    kept = plan.config.checkpoints.keep_last + plan.config.checkpoints.keep_best
    # One more is written before the oldest is removed.
    needed = estimate.checkpoint * (kept + 1) + estimate.weights - estimate.gradients
    free = shutil.disk_usage(_existing(folder)).free
    if needed <= free:
        return ""
    return (
        f"the checkpoints need up to {_size(needed)}, the disk of {folder} has {_size(free)} left; free some "
        "space, or lower checkpoints.keep_last and checkpoints.keep_best"
    )


def _activations(accelerator: Any, network: TrainingNetwork, batch: Batch) -> int:
    """Bytes that autograd keeps between the forward and the backward pass."""
    weights = {weight.untyped_storage().data_ptr() for weight in network.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), accelerator.autocast():
        network(batch)["loss"].backward()
    return sum(kept.values())


def _seconds(accelerator: Any, network: TrainingNetwork, batch: Batch) -> float:
    times = []
    for _ in range(1 + _TIMED):
        began = time.perf_counter()
        with accelerator.autocast():
            loss = network(batch)["loss"]
        loss.backward()
        # The time is that of the device, not of handing it work.
        loss.item()
        if accelerator.device.type == "cuda":
            torch.cuda.synchronize(accelerator.device)
        times.append(time.perf_counter() - began)
    return min(times[1:])


def _bytes(weight: Tensor) -> int:
    return weight.numel() * weight.element_size()


def _existing(folder: Path) -> Path:
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def _size(size: int) -> str:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"


def _duration(seconds: float) -> str:
    parts: Sequence[tuple[str, int]] = (("h", 3600), ("min", 60), ("s", 1))
    unit, factor = next((part for part in parts if seconds >= 2 * part[1]), parts[-1])
    return f"{seconds / factor:.1f} {unit}"
