"""Does a process grow? A slope through noisy samples, and how much of one is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# More samples than this say nothing more about a straight line.
MOST_SAMPLES = 300


@dataclass(frozen=True)
class Allowance:
    """How much a value may grow: ``once`` whatever the time (caches, fragments), and ``per_minute``."""

    once: float
    per_minute: float

    def within(self, seconds: float) -> float:
        """Return the most that may be added in ``seconds``."""
        return self.once + self.per_minute * seconds / 60


@dataclass(frozen=True)
class Growth:
    """What a straight line through the samples gains from the first to the last, and what it may gain."""

    gained: float
    allowed: float
    seconds: float

    @property
    def flat(self) -> bool:
        """Whether it stays within what is allowed."""
        return self.gained <= self.allowed


def growth(times: Sequence[float], values: Sequence[float], allowance: Allowance) -> Growth:
    """Return how much ``values`` grow over ``times`` (seconds, ascending), by the median of all slopes.

    The median (Theil and Sen's estimator) ignores a garbage collection that has not happened yet or an image that
    is in memory just then. Fewer than three samples grow by nothing.
    """
    if len(times) < 3:
        return Growth(0.0, allowance.within(0.0), 0.0)
    chosen = np.unique(np.linspace(0, len(times) - 1, min(len(times), MOST_SAMPLES)).round().astype(int))
    x, y = np.asarray(times, dtype=np.float64)[chosen], np.asarray(values, dtype=np.float64)[chosen]
    first, second = np.triu_indices(len(x), k=1)
    slopes = (y[second] - y[first]) / np.maximum(x[second] - x[first], 1e-9)
    seconds = float(x[-1] - x[0])
    return Growth(float(np.median(slopes)) * seconds, allowance.within(seconds), seconds)
