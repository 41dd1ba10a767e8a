"""What the actions of a dataset are like: the numbers that a robot profile needs, and signs of bad recordings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.data.episodes import Episode, EpisodeSource
from robovlms_ros.data.errors import DataError
from robovlms_ros.data.rotations import axis_angle_to_rpy

Array = NDArray[np.float64]

DIMENSIONS = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
ARM = slice(0, 6)
# Metres or radians: a dimension whose quantiles are nearer to each other than this did not move.
SMALLEST_RANGE = 1e-6


@dataclass(frozen=True)
class ActionStatistics:
    """Per dimension of the actions, ``(7,)`` each: metres, radians (roll, pitch, yaw), gripper opening."""

    q01: Array
    q99: Array
    mean: Array
    std: Array
    min: Array
    max: Array
    lengths: NDArray[np.int64]
    """Steps of each episode."""

    @property
    def degenerate(self) -> list[int]:
        """Dimensions of the arm that did not move: q01 = q99."""
        return np.flatnonzero((self.q99 - self.q01)[ARM] < SMALLEST_RANGE).tolist()

    def shorter_than(self, steps: int) -> int:
        """How many episodes have fewer than ``steps`` steps."""
        return int((self.lengths < steps).sum())


def action_statistics(
    source: EpisodeSource, progress: Callable[[int, int], None] = lambda done, total: None
) -> ActionStatistics:
    """The statistics of all actions of ``source``, as roll-pitch-yaw, which is what models predict.

    Raises `DataError` where there are none.
    """
    actions = []
    for index in range(len(source)):
        actions.append(rpy_actions(source[index], source))
        progress(index + 1, len(source))
    if not actions:
        raise DataError(f"{source.name} has no episodes, and so no statistics")
    rows = np.concatenate(actions)
    q01, q99 = np.quantile(rows, [0.01, 0.99], axis=0)
    return ActionStatistics(
        q01,
        q99,
        rows.mean(axis=0),
        rows.std(axis=0),
        rows.min(axis=0),
        rows.max(axis=0),
        np.array([len(one) for one in actions], dtype=np.int64),
    )


def rpy_actions(episode: Episode, source: EpisodeSource) -> Array:
    """The actions of one episode ``(T, 7)`` with their rotations as roll, pitch, yaw."""
    actions = np.array(episode.actions)
    if source.rotation_format == "axis_angle":
        actions[:, 3:6] = axis_angle_to_rpy(actions[:, 3:6])
    return actions


def quantiles_for_profile(statistics: ActionStatistics, smallest_range: float = 0.0) -> tuple[Array, Array]:
    """q01 and q99 of the arm, ``(6,)`` each, wide enough to be divided by.

    Where they are nearer to each other than ``smallest_range`` (metres or radians) they are moved apart, by the
    same on either side. Raises `DataError` naming the dimensions that did not move where that is 0.
    """
    q01, q99 = statistics.q01[ARM].copy(), statistics.q99[ARM].copy()
    narrow = np.flatnonzero(q99 - q01 < max(smallest_range, SMALLEST_RANGE))
    if narrow.size and not smallest_range:
        named = ", ".join(f"{DIMENSIONS[i]} ({q01[i]:g} to {q99[i]:g})" for i in narrow)
        raise DataError(
            f"the actions do not move in {named}: q01 equals q99, and nothing could be read back from a model's "
            "answer. Record data that moves there, or give these dimensions a small range of your own with "
            "--smallest-range 0.001"
        )
    middle = (q01 + q99)[narrow] / 2
    q01[narrow], q99[narrow] = middle - smallest_range / 2, middle + smallest_range / 2
    return q01, q99
