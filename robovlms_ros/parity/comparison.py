"""The differences of one case."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

TOLERANCE = 1e-5
"""Allowed absolute difference in float32 on a CPU."""


@dataclass
class Comparison:
    """What of one case was compared with upstream's values, and how far apart they are."""

    case: str
    compared: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    largest: float = 0.0
    allowed: float = 0.0
    not_run: str = ""
    """Why there is nothing to compare; empty where there is."""

    @property
    def passed(self) -> bool:
        """Whether nothing differs by more than it may."""
        return not self.failed

    def close(self, what: str, actual: ArrayLike, expected: ArrayLike, allowed: float = TOLERANCE) -> None:
        """Compare numbers; nothing but the same shape and finite values can pass."""
        actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
        same_shape = actual.shape == expected.shape
        difference = float(np.max(np.abs(actual - expected), initial=0.0)) if same_shape else float("inf")
        difference = float("inf") if np.isnan(difference) else difference
        self.largest, self.allowed = max(self.largest, difference), max(self.allowed, allowed)
        self._note(what, difference <= allowed)

    def equal(self, what: str, actual: ArrayLike, expected: ArrayLike) -> None:
        """Compare ids, masks, signs and texts, which must be the same."""
        self._note(f"{what} (exact)", np.array_equal(np.asarray(actual), np.asarray(expected)))

    def _note(self, what: str, passed: bool) -> None:
        if what not in self.compared:
            self.compared.append(what)
        if not passed and what not in self.failed:
            self.failed.append(what)
