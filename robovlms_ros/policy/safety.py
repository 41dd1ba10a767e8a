"""The last stop before an arm: finite, right shape, within limits. Pure NumPy, no state.

The order matters and is fixed: ``check_chunk`` (shape, then finite) comes before ``limit_actions``, because
``np.clip`` and ``min`` let NaN through.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.policy.types import ActionChunk
from robovlms_ros.policy.workspace import Workspace, confine

ACTION_DIM = 7
TRANSLATION = slice(0, 3)
ROTATION = slice(3, 6)
GRIPPER = 6


class ActionError(ValueError):
    """A model output that must not become motion. ``kind`` is the name under which it is counted."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Limits:
    """Largest motion of one action; ``inf`` means unlimited.

    ``translation`` bounds the Euclidean norm of the translation in metres, ``rotation`` that of the rotation
    vector in radians (for axis-angle this is the angle; for roll-pitch-yaw it bounds it from above for the
    small steps that a policy makes). ``workspace`` is a box in metres that the tool is kept in.
    """

    translation: float = math.inf
    rotation: float = math.inf
    workspace: Workspace | None = None

    def __post_init__(self) -> None:
        for name, value in (("translation", self.translation), ("rotation", self.rotation)):
            if not value > 0.0:  # also true for NaN
                raise ValueError(f"the {name} limit must be above zero, got {value}")


def check_chunk(chunk: ActionChunk) -> None:
    """Raise ActionError unless both arrays of ``chunk`` are ``(N, 7)``, N >= 1, and finite throughout."""
    for name, array in (("normalised", chunk.normalized), ("physical", chunk.actions)):
        if array.ndim != 2 or array.shape[0] < 1 or array.shape[1] != ACTION_DIM:
            raise ActionError("wrong shape", f"the {name} actions have shape {array.shape}, not (N, {ACTION_DIM})")
    if chunk.normalized.shape != chunk.actions.shape:
        raise ActionError(
            "wrong shape", f"{len(chunk.normalized)} normalised but {len(chunk.actions)} physical actions"
        )
    for name, array in (("normalised", chunk.normalized), ("physical", chunk.actions)):
        bad = ~np.isfinite(array)
        if bad.any():
            row, column = (int(index) for index in np.argwhere(bad)[0])
            raise ActionError("not finite", f"{name} action {row} has {array[row, column]} in dimension {column}")


def limit_actions(
    actions: NDArray[np.float64], limits: Limits, position: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.uint32]]:
    """Scale ``(N, 7)`` finite actions into ``limits``, keeping directions; put the gripper into [0, 1].

    ``position`` is where the tool is now, ``(3,)`` metres in the frame of the actions; a workspace needs it and
    follows the tool from there through the rows. Returns the limited copy and ``(N,)`` bit masks: bit i is set
    where dimension i was changed. Raises ValueError for a workspace without a position.
    """
    limited = np.array(actions, dtype=np.float64)
    _scale_into(limited[:, TRANSLATION], limits.translation)
    _scale_into(limited[:, ROTATION], limits.rotation)
    if limits.workspace is not None:
        if position is None:
            raise ValueError("a workspace cannot be held without the tool's position")
        limited[:, TRANSLATION] = confine(limited[:, TRANSLATION], limits.workspace, position)
    np.clip(limited[:, GRIPPER], 0.0, 1.0, out=limited[:, GRIPPER])
    bits = np.uint32(1) << np.arange(ACTION_DIM, dtype=np.uint32)
    saturated = ((limited != actions) * bits).sum(axis=1, dtype=np.uint32)
    return limited, saturated


def _scale_into(vectors: NDArray[np.float64], limit: float) -> None:
    """Shorten the rows of ``vectors`` (a view, changed in place) whose norm exceeds ``limit``."""
    for vector in vectors:
        largest = float(np.abs(vector).max())
        if largest == 0.0:
            continue
        unit = vector / largest  # first, so that squares of huge components cannot overflow
        length = float(np.linalg.norm(unit))
        if largest * length > limit:
            vector[:] = unit * (limit / length)
