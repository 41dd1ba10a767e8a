"""From a prediction to what an arm is told: SI units, limits, and the same again as the model would say it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.policy.decision import LimitedChunk, Profile
from robovlms_ros.policy.safety import GRIPPER, Limits, limit_actions
from robovlms_ros.policy.schedule import ScheduledStep
from robovlms_ros.policy.types import ActionChunk


def limit_chunk(
    chunk: ActionChunk,
    profile: Profile,
    limits: Limits,
    *,
    position: NDArray[np.float64] | None = None,
    orientation: NDArray[np.float64] | None = None,
) -> LimitedChunk:
    """Bring every row of a checked ``chunk`` into ``limits``; ``position`` as for `limit_actions`.

    ``orientation`` is the one that the chunk was predicted in, of a profile that turns motions of the tool.
    """
    unlimited = np.zeros(len(chunk), dtype=np.uint32)
    rows = LimitedChunk(profile.to_si(chunk.actions), chunk.normalized, unlimited)
    return limit_rows(rows, profile, limits, position, orientation)


def limit_rows(
    rows: LimitedChunk,
    profile: Profile,
    limits: Limits,
    position: NDArray[np.float64] | None,
    orientation: NDArray[np.float64] | None,
) -> LimitedChunk:
    """Bring ``rows`` into ``limits`` again, which may have changed since; the bits that they carry stay set."""
    actions, saturated = limit_actions(rows.actions, limits, position)
    normalized = np.array(rows.normalized, dtype=np.float32)
    changed = saturated != 0
    if changed.any():
        normalized[changed] = as_predicted(actions[changed], profile, orientation)
    # What the gripper was told, not what the model answered: the profile may have held it.
    normalized[:, GRIPPER] = actions[:, GRIPPER] >= 0.5
    return LimitedChunk(actions, normalized, rows.saturated | saturated)


def limit_step(
    step: ScheduledStep, profile: Profile, limits: Limits, position: NDArray[np.float64] | None
) -> LimitedChunk:
    """Return the one row that is executed for ``step``."""
    orientation, normalized = step.newest.orientation, step.normalized
    if normalized is None:
        normalized = as_predicted(step.action[None], profile, orientation)[0]
    row = LimitedChunk(step.action[None], normalized[None], np.array([step.saturated], dtype=np.uint32))
    return limit_rows(row, profile, limits, position, orientation)


def limit_rest(
    step: ScheduledStep, profile: Profile, limits: Limits, position: NDArray[np.float64] | None
) -> LimitedChunk:
    """Return the newest chunk of ``step`` with its rows from there on in ``limits``, the tool being there now."""
    rows, index = step.newest.chunk, step.index
    rest = LimitedChunk(rows.actions[index:], rows.normalized[index:], rows.saturated[index:])
    rest = limit_rows(rest, profile, limits, position, step.newest.orientation)
    return LimitedChunk(
        np.concatenate([rows.actions[:index], rest.actions]),
        np.concatenate([rows.normalized[:index], rest.normalized]),
        np.concatenate([rows.saturated[:index], rest.saturated]),
    )


def as_predicted(
    actions: NDArray[np.float64], profile: Profile, orientation: NDArray[np.float64] | None = None
) -> NDArray[np.float32]:
    """Return ``(N, 7)`` actions in SI units as the model would have said them, gripper 0 or 1."""
    normalized = profile.normalize(profile.from_si(actions), orientation)
    normalized[:, GRIPPER] = actions[:, GRIPPER] >= 0.5
    return normalized
