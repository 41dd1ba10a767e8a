"""Recorded actions of either kind as motions per step."""

from __future__ import annotations

import numpy as np

from robovlms_ros.data.lerobot.mapping import Array, Mapping
from robovlms_ros.data.rotations import axis_angle_to_rpy, matrix_to_rpy, rpy_to_axis_angle, rpy_to_matrix

NO_PREDECESSOR = "the first target of an episode has none before it to be relative to"
Read = tuple[Array, Array, Array]
"""Translation in metres ``(T, 3)``, rotation ``(T, 3)``, opening ``(T,)``."""


def motions(action: Read, mapping: Mapping, state: Read | None) -> tuple[Array, dict[int, str]]:
    """Actions ``(T, 7)`` with rotations in the mapping's format, and the steps that have none.

    A pose to go to is relative to the pose at the same step where states are known, else to the target before:
    an arm that follows is there by then.
    """
    translation, turn, opening = action
    written = mapping.action.rotation_format
    if mapping.action.kind == "delta":
        rotation = turn
        if written == "rpy" and mapping.rotation_format == "axis_angle":
            rotation = rpy_to_axis_angle(turn)
        elif written != "rpy" and mapping.rotation_format == "rpy":
            rotation = axis_angle_to_rpy(turn)
        return np.column_stack([translation, rotation, opening]), {}
    target = _matrices(turn, written)
    if state is not None and mapping.state is not None:
        start, before = state[0], _matrices(state[1], mapping.state.rotation_format)
        faults = {}
    else:
        start, before = np.roll(translation, 1, axis=0), np.roll(target, 1, axis=0)
        faults = {0: NO_PREDECESSOR}
    rpy = matrix_to_rpy(target @ np.swapaxes(before, -1, -2))
    rotation = rpy if mapping.rotation_format == "rpy" else rpy_to_axis_angle(rpy)
    return np.column_stack([translation - start, rotation, opening]), faults


def _matrices(turn: Array, written: str) -> Array:
    return rpy_to_matrix(turn if written == "rpy" else axis_angle_to_rpy(turn))
