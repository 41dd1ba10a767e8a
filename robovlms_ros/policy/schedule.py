"""Predicted chunks on one axis of executed steps: which action is due at the next step. Pure, no clock of its own.

Step ``n`` of the axis is the ``n``-th that was executed since the last `ChunkSchedule.clear`. A chunk is placed on
it when its first action is needed: the actions that were meant for the time between its image and then are past,
and are skipped. How many is measured: the whole steps that fit into that time, but never more than were executed
since the image was taken, because an arm that waited has not moved on. Placing at the step, not on arrival, leaves
no fraction of a step to be rounded away.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.policy.chunk_settings import ChunkSettings
from robovlms_ros.policy.decision import LimitedChunk
from robovlms_ros.policy.safety import GRIPPER

# Times of executed steps that are kept: as many as a chunk may have actions (chunk.horizon goes up to 1000).
REMEMBERED_STEPS = 1024
GRIPPER_BIT = np.uint32(1 << GRIPPER)


@dataclass(frozen=True)
class Prediction:
    """A chunk as it came out of an inference, with the stamp of the image that it answers.

    ``orientation``: roll, pitch and yaw of the tool in that image, where the robot profile needs them.
    """

    stamp_ns: int
    chunk: LimitedChunk
    timings: Mapping[str, float] = field(default_factory=dict)
    orientation: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.chunk.actions)


@dataclass(frozen=True)
class ScheduledStep:
    """The action for one step: ``(7,)``, with the limits that its predictions hit as ``saturated`` bits.

    ``newest`` is the newest prediction in it and ``index`` the place there; ``first``: none of its actions was due
    before. ``normalized`` is None where several predictions were combined.
    """

    action: NDArray[np.float64]
    normalized: NDArray[np.float32] | None
    saturated: int
    newest: Prediction
    index: int
    first: bool


@dataclass
class _Placed:
    """A prediction whose row 0 belongs to step ``start`` of the axis; it was placed at step ``since``."""

    prediction: Prediction
    start: int
    since: int

    def covers(self, step: int) -> bool:
        return step < self.start + len(self.prediction)


class ChunkSchedule:
    """Says what to execute at each step. Not thread-safe.

    ``counts`` gets the actions (``"late step"``) and whole chunks (``"late chunk"``) that came too late.
    """

    def __init__(self, counts: Counter[str] | None = None) -> None:
        self.counts: Counter[str] = Counter() if counts is None else counts
        self.clear()

    def clear(self) -> None:
        """Forget all chunks and start a new axis: nothing that was predicted before is ever executed."""
        self._executed = 0
        self._times: deque[int] = deque(maxlen=REMEMBERED_STEPS)
        self._arrived: list[Prediction] = []
        self._placed: list[_Placed] = []

    @property
    def empty(self) -> bool:
        """Whether no chunk is left, so that no step will give an action before another comes."""
        return not self._arrived and not self._placed

    def add(self, prediction: Prediction) -> None:
        """Take the newest prediction; it is placed at the next step."""
        self._arrived.append(prediction)

    def due(self, settings: ChunkSettings) -> bool:
        """Whether the next inference should begin: enough actions of the newest chunk are past."""
        if settings.mode == "ensemble":
            return True
        if self._arrived:
            return False
        return not self._placed or self._executed - self._placed[-1].start >= settings.horizon

    def next(self, now_ns: int, step_ns: int, settings: ChunkSettings) -> ScheduledStep | None:
        """Return what to execute at ``now_ns``, for ``step_ns``; None where no chunk holds an action for then.

        What is returned counts as executed.
        """
        for prediction in self._arrived:
            self._place(prediction, now_ns, step_ns)
        self._arrived.clear()
        self._placed = [placed for placed in self._placed if placed.covers(self._executed)]
        if not self._placed:
            return None
        if settings.mode == "ensemble":
            weights = ensemble_weights(len(self._placed), settings.ensemble_decay)
        else:
            weights = self._takeover(settings.blend_steps if settings.mode == "blend" else 0)
        step = self._combine(weights)
        self._executed += 1
        self._times.append(now_ns)
        return step

    def _place(self, prediction: Prediction, now_ns: int, step_ns: int) -> None:
        elapsed = max(0, now_ns - prediction.stamp_ns) // step_ns
        executed = sum(time >= prediction.stamp_ns for time in self._times)
        skipped = min(elapsed, executed)
        if skipped:
            self.counts["late step"] += min(skipped, len(prediction))
        if skipped < len(prediction):
            self._placed.append(_Placed(prediction, self._executed - skipped, self._executed))
        else:
            self.counts["late chunk"] += 1

    def _takeover(self, blend_steps: int) -> NDArray[np.float64]:
        """Weights of the placed chunks where each takes over linearly; drops those that have handed over."""
        shares = [min(1.0, (self._executed - placed.since + 1) / (blend_steps + 1)) for placed in self._placed]
        shares[0] = 1.0  # whom the oldest took over from is used up
        begin = max(index for index, share in enumerate(shares) if share >= 1.0)
        del self._placed[:begin]
        weights = np.ones(1)
        for share in shares[begin + 1 :]:
            weights = np.append(weights * (1 - share), share)
        return weights

    def _combine(self, weights: NDArray[np.float64]) -> ScheduledStep:
        placed = self._placed[-1]
        chunk, index = placed.prediction.chunk, self._executed - placed.start
        action, saturated = chunk.actions[index].copy(), chunk.saturated[index]
        if len(self._placed) > 1:
            rows = [(other.prediction.chunk, self._executed - other.start) for other in self._placed]
            # As differences from the newest, so that equal predictions give exactly themselves.
            for weight, (other, row) in zip(weights, rows, strict=True):
                action[:GRIPPER] += weight * (other.actions[row, :GRIPPER] - chunk.actions[index, :GRIPPER])
                saturated |= other.saturated[row] & ~GRIPPER_BIT
        return ScheduledStep(
            action=action,
            normalized=chunk.normalized[index] if len(self._placed) == 1 else None,
            saturated=int(saturated),
            newest=placed.prediction,
            index=index,
            first=placed.since == self._executed,
        )


def ensemble_weights(count: int, decay: float) -> NDArray[np.float64]:
    """Weights of ``count`` predictions of one step, oldest first, that sum to 1: proportional to exp(-decay i).

    Temporal ensembling of Zhao et al., "Learning Fine-Grained Bimanual Manipulation with Low-Cost Hardware"
    (ACT, 2023, arXiv:2304.13705), algorithm 2. i = 0 is the oldest: the smaller the decay, the faster new
    observations are taken in; a negative one prefers them.
    """
    exponents = -decay * np.arange(count)
    weights = np.exp(exponents - exponents.max())
    return np.asarray(weights / weights.sum())
