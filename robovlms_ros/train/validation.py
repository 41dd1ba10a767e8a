"""Losses on windows that are not trained on, by the code that computes them in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robovlms_ros.train.batch import Batch
from robovlms_ros.train.engine import is_sharded
from robovlms_ros.train.network import TrainingNetwork
from robovlms_ros.train.order import SampleKey
from robovlms_ros.train.reading import batches as read
from robovlms_ros.train.window_dataset import WindowDataset


def spread(windows: int, most: int) -> list[int]:
    """At most ``most`` window numbers, evenly spread over all."""
    return sorted(set(np.linspace(0, windows - 1, min(windows, most)).round().astype(int).tolist()))


class Validation:
    """Measures a network on a fixed part of a dataset.

    Args:
        accelerator: of accelerate.
        network: as the loop has it.
        dataset: held-out windows; nothing about them is random here.
        collate: samples -> `Batch`.
        windows: the most windows to take.
        batch_size: windows per process at a time.
        workers: processes that read images.
    """

    def __init__(
        self,
        accelerator: Any,
        network: nn.Module,
        dataset: WindowDataset,
        collate: Callable[..., Batch],
        windows: int,
        batch_size: int,
        workers: int = 0,
    ) -> None:
        self._accelerator = accelerator
        self._network = network
        self._plain: TrainingNetwork = accelerator.unwrap_model(network)
        rank, world = accelerator.process_index, accelerator.num_processes
        keys = [SampleKey(number, None) for number in spread(len(dataset), windows)]
        batches = [keys[i : i + batch_size] for i in range(0, len(keys), batch_size)]
        # Every process runs as often as the others, as some wrappers need; what it repeats does not count.
        rounds = -(-len(batches) // world)
        own = [batches[min(i * world + rank, len(batches) - 1)] for i in range(rounds)]
        self._counted = [i * world + rank < len(batches) for i in range(rounds)]
        self._dataset, self._keys, self._collate, self._workers = dataset, own, collate, workers

    @torch.no_grad()
    def __call__(self) -> dict[str, float]:
        """Means over all targets, ``val_loss`` and so on. Leaves the network in evaluation mode."""
        self._network.eval()
        # Of a network that every process holds whole no process needs the others.
        network = self._network if is_sharded(self._accelerator) else self._plain
        device, sums, total = self._accelerator.device, dict[str, Tensor](), 0.0
        given = read(self._dataset, self._keys, self._collate, self._workers)
        for batch, counted in zip(given, self._counted, strict=True):
            count = self._plain.scored(batch) if counted else 0
            with self._accelerator.autocast():
                losses = network(batch.to(device))
            total += count
            for name, value in losses.items():
                part = value.to(device, torch.float64) * count if counted else torch.zeros_like(value)
                sums[name] = sums[name] + part if name in sums else part
        names = sorted(sums)
        numbers = [*(sums[name].to(device) for name in names), torch.tensor(total, device=device)]
        *added, targets = self._accelerator.reduce(torch.stack([n.double() for n in numbers]), "sum").tolist()
        return {f"val_{name}": value / targets for name, value in zip(names, added, strict=True)}
