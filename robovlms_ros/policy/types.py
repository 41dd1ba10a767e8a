"""What goes into a policy and what comes out: plain data, NumPy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class HistoryWindow:
    """The last executed actions of an episode, oldest first.

    ``actions`` is ``(length, action_dim)`` float32 in the model's normalised space (pose in [-1, 1], gripper
    0 = closed, 1 = open); rows where ``valid`` is False hold zeros: no action yet, or a lost message.
    """

    actions: NDArray[np.float32]
    valid: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.actions.ndim != 2 or self.valid.shape != self.actions.shape[:1]:
            raise ValueError(
                f"history: actions must be (length, action_dim) with one valid flag per row, "
                f"got {self.actions.shape} and {self.valid.shape}"
            )


@dataclass(frozen=True)
class Observation:
    """One look at the world and what to do in it.

    ``images`` maps a camera name (``"static"``, ``"hand"``) to an ``(H, W, 3)`` uint8 RGB array, or to None
    where that camera gave nothing. ``state`` is the proprioceptive state (arm pose in metres and radians, then
    the gripper opening), for models that take one. ``history`` is for models with an action encoder.
    """

    images: Mapping[str, NDArray[np.uint8] | None]
    instruction: str
    state: NDArray[np.float64] | None = None
    history: HistoryWindow | None = None


@dataclass(frozen=True)
class ActionChunk:
    """``N`` consecutive actions predicted from one observation; row 0 is to be executed now.

    ``normalized``: ``(N, 7)`` float32, pose in [-1, 1], gripper 0 = closed or 1 = open.
    ``actions``: ``(N, 7)`` float64, metres, radians, gripper opening in [0, 1], by the robot profile.
    ``timings``: seconds per stage of this step (``preprocess``, ``model``, ...); empty where no inference ran.
    """

    normalized: NDArray[np.float32]
    actions: NDArray[np.float64]
    timings: Mapping[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.normalized)


class Session(Protocol):
    """One episode's state over a policy. Not thread-safe; two sessions may share one policy."""

    def reset(self) -> None:
        """Forget everything: head memory, feature cache, instruction, queued chunk, gripper state."""

    def step(self, observation: Observation) -> ActionChunk:
        """Advance by one control step. A changed instruction resets the session first."""


class Policy(Protocol):
    """What the nodes and the replay run: a loaded model with its robot profile and model card."""

    @property
    def card(self) -> Mapping[str, object]:
        """The model card: ``model_id``, backbone, head, cameras, window, chunk, digests (JSON-serialisable)."""

    def session(self, execute_horizon: int = 1) -> Session:
        """A new episode. The model runs on every ``execute_horizon``-th step; between, the chunk is consumed."""
