"""Which windows make up an optimiser step: a pure function of seed and step, so that a run can go on anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Sampler

from robovlms_ros.model.errors import ConfigError


class SampleKey(NamedTuple):
    """A window by its number, and the seed of what is random about it; None where nothing is."""

    window: int
    seed: int | None


@dataclass(frozen=True)
class TrainingOrder:
    """Every epoch a new permutation of all windows, cut into optimiser steps.

    A step takes ``accumulate`` micro-batches of ``world * batch_size`` windows each, of which every process gets
    its own ``batch_size``: the same windows whether there is one process or there are more with smaller batches.
    What does not fill a step at the end of an epoch waits for the next one.
    """

    windows: int
    batch_size: int
    seed: int
    accumulate: int = 1
    world: int = 1

    def __post_init__(self) -> None:
        if self.windows < self.per_step:
            raise ConfigError(
                f"there are {self.windows} windows to train on, but one step takes {self.per_step} (batch size "
                f"{self.batch_size}, {self.accumulate} accumulated, {self.world} processes); lower "
                "optim.batch_size or add data"
            )

    @property
    def per_step(self) -> int:
        """Windows per optimiser step, over all processes."""
        return self.batch_size * self.accumulate * self.world

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps per epoch."""
        return self.windows // self.per_step

    def micro_batches(self, step: int, rank: int = 0) -> list[list[SampleKey]]:
        """What process ``rank`` trains on in optimiser step ``step``: ``accumulate`` lists of ``batch_size``."""
        return self._cut(step, rank, self._permutation(step // self.steps_per_epoch))

    def batches(self, first: int, last: int, rank: int = 0) -> Iterator[list[SampleKey]]:
        """The micro-batches of steps ``first`` to ``last``, exclusive, one after the other."""
        epoch, permutation = -1, np.zeros(0, np.int64)
        for step in range(first, last):
            if step // self.steps_per_epoch != epoch:
                epoch = step // self.steps_per_epoch
                permutation = self._permutation(epoch)
            yield from self._cut(step, rank, permutation)

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng((self.seed, epoch)).permutation(self.windows)

    def _cut(self, step: int, rank: int, permutation: NDArray[np.int64]) -> list[list[SampleKey]]:
        epoch, number = divmod(step, self.steps_per_epoch)
        begin = number * self.per_step + rank * self.batch_size
        firsts = range(begin, begin + self.accumulate * self.world * self.batch_size, self.world * self.batch_size)
        return [
            [
                SampleKey(int(permutation[place]), random_seed(self.seed, epoch, place))
                for place in range(first, first + self.batch_size)
            ]
            for first in firsts
        ]


def random_seed(*numbers: int) -> int:
    """One well-mixed seed out of several small numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


class BatchSampler(Sampler[list[SampleKey]]):
    """Hands given batches of keys to a `torch.utils.data.DataLoader`."""

    def __init__(self, order: TrainingOrder, first: int, last: int, rank: int = 0) -> None:
        self._arguments = order, first, last, rank

    def __len__(self) -> int:
        order, first, last, _ = self._arguments
        return (last - first) * order.accumulate

    def __iter__(self) -> Iterator[list[SampleKey]]:
        order, first, last, rank = self._arguments
        return order.batches(first, last, rank)


def seed_step(seed: int, step: int, rank: int) -> None:
    """Make everything random in the network's own step (dropout) a function of these numbers.

    So the state of a run is its weights, its optimiser's numbers and a step, and a run that is taken up again
    draws what it would have drawn.
    """
    torch.manual_seed(random_seed(seed, step, rank, 1))
