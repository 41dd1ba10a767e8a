"""From a prediction to what an arm is told: SI units, limits, and the same again as the model would say it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.policy.decision import LimitedChunk, Profile
from robovlms_ros.policy.safety import GRIPPER, Limits, limit_actions
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
    actions, saturated = limit_actions(profile.to_si(chunk.actions), limits, position)
    normalized = np.array(chunk.normalized, dtype=np.float32)
    changed = saturated != 0
    if changed.any():
        normalized[changed] = as_predicted(actions[changed], profile, orientation)
    # What the gripper was told, not what the model answered: the profile may have held it.
    normalized[:, GRIPPER] = actions[:, GRIPPER] >= 0.5
    return LimitedChunk(actions, normalized, saturated)


def as_predicted(
    actions: NDArray[np.float64], profile: Profile, orientation: NDArray[np.float64] | None = None
) -> NDArray[np.float32]:
    """Return ``(N, 7)`` actions in SI units as the model would have said them, gripper 0 or 1."""
    normalized = profile.normalize(profile.from_si(actions), orientation)
    normalized[:, GRIPPER] = actions[:, GRIPPER] >= 0.5
    return normalized
