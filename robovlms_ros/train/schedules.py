"""How the learning rate changes over a run: a pure function of the step, so there is nothing to save."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Kind = Literal["constant", "half-cosine", "cosine"]


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up from 0, then constant, or half a cosine down (robovlms.md, section 8.3).

    ``cosine`` is the half cosine down to 0; ``half-cosine`` ends at ``min_scale``. ``warmup`` and ``total`` are
    optimiser steps; ``warmup`` may have a fraction, as upstream counts part of an epoch.
    """

    kind: Kind
    total: int
    warmup: float = 0.0
    min_scale: float = 0.0

    def __call__(self, step: int) -> float:
        """What the learning rate is multiplied with in optimiser step ``step``, counted from 0."""
        if step < self.warmup:
            return step / self.warmup
        if self.kind == "constant":
            return 1.0
        lowest = self.min_scale if self.kind == "half-cosine" else 0.0
        progress = min(1.0, (step - self.warmup) / max(self.total - self.warmup, 1))
        return lowest + (1 - lowest) * 0.5 * (1 + math.cos(math.pi * progress))
