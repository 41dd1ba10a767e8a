"""A box that the tool is kept in: motions are shortened where they would leave it. Pure NumPy, no state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Corner = tuple[float, float, float]


@dataclass(frozen=True)
class Workspace:
    """Two corners in metres, in the frame of the actions: ``low`` below ``high`` in each coordinate."""

    low: Corner
    high: Corner

    def __post_init__(self) -> None:
        if not all(math.isfinite(number) for number in (*self.low, *self.high)):
            raise ValueError(f"a workspace needs finite corners, got {self.low} and {self.high}")
        for axis, low, high in zip("xyz", self.low, self.high, strict=True):
            if not low < high:
                raise ValueError(f"a workspace with {axis}_min {low:g} not below {axis}_max {high:g} is empty")

    @classmethod
    def of_numbers(cls, numbers: Sequence[float]) -> Workspace | None:
        """The box of ``[x_min, y_min, z_min, x_max, y_max, z_max]``; None of no numbers.

        Raises ValueError for another count of numbers or a box that is none.
        """
        if not len(numbers):
            return None
        if len(numbers) != 6:
            raise ValueError(
                f"a workspace is x_min, y_min, z_min, x_max, y_max, z_max: 6 numbers, not {len(numbers)}"
            )
        x_min, y_min, z_min, x_max, y_max, z_max = (float(number) for number in numbers)
        return cls((x_min, y_min, z_min), (x_max, y_max, z_max))


def confine(
    translations: NDArray[np.float64], workspace: Workspace, position: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return ``(N, 3)`` consecutive translations so that a tool at ``position`` stays in ``workspace``.

    Each coordinate by itself: a motion ends on the wall that it would cross, and slides along it. A tool that is
    outside already may move inwards and not further out, but nothing pulls it: a motion is never lengthened,
    nor its sign changed. Row by row each starts where the one before it ends.
    """
    rows = np.asarray(translations, dtype=np.float64).tolist()
    # In Python's own numbers: NumPy would take ten times as long for three at a time, at every step.
    for axis, (low, high, place) in enumerate(zip(workspace.low, workspace.high, position.tolist(), strict=True)):
        for row in rows:
            row[axis] = min(max(row[axis], min(low - place, 0.0)), max(high - place, 0.0))
            place += row[axis]
    return np.array(rows, dtype=np.float64).reshape(-1, 3)
