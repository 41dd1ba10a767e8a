"""How predicted chunks become executed steps: the choices, and which of them exclude each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

ChunkMode = Literal["first", "open_loop", "ensemble", "blend"]
Starvation = Literal["hold", "zero", "stop"]
CHUNK_MODES: tuple[ChunkMode, ...] = get_args(ChunkMode)
STARVATIONS: tuple[Starvation, ...] = get_args(Starvation)


@dataclass(frozen=True)
class ChunkSettings:
    """Which actions of which chunks are executed, and when the model runs.

    ``mode``: ``first`` executes action 0 of each chunk (upstream's behaviour), ``open_loop`` ``horizon`` actions
    of each, ``ensemble`` the weighted mean of all chunks that hold an action for the step, ``blend`` the newest
    chunk, which takes over from the one before within ``blend_steps`` steps.
    ``overlap``: actions leave at the control rate while the model works on the next chunk; otherwise each image is
    answered by one action. ``starvation`` says what then happens where a chunk is used up and the next is not
    there: ``hold`` publishes nothing, ``zero`` an action of no motion at every step, ``stop`` one.
    ``horizon`` with overlap: the next inference begins when so many actions of the newest chunk are past.
    ``ensemble_decay``: m of the weights exp(-m i), i = 0 for the oldest chunk.

    Raises ValueError where they contradict each other.
    """

    mode: ChunkMode = "first"
    horizon: int = 1
    overlap: bool = False
    ensemble_decay: float = 0.01
    blend_steps: int = 3
    starvation: Starvation = "hold"

    def __post_init__(self) -> None:
        if self.overlap and self.mode == "first":
            raise ValueError(
                "chunk.overlap goes on with a chunk while the next is computed, but chunk.mode 'first' executes "
                "one action of each; set chunk.mode to open_loop, ensemble or blend"
            )
        if self.horizon < 1 or self.blend_steps < 0 or not math.isfinite(self.ensemble_decay):
            raise ValueError(
                "chunk.horizon must be at least 1, chunk.blend_steps at least 0 and chunk.ensemble_decay finite, "
                f"got {self.horizon}, {self.blend_steps} and {self.ensemble_decay}"
            )

    @property
    def scheduled(self) -> bool:
        """Whether steps come from a `ChunkSchedule`; otherwise each is the first of what the session answers."""
        return self.overlap or self.mode in ("ensemble", "blend")

    @property
    def session_horizon(self) -> int:
        """The session runs its model on every so-manieth step and goes on with its own chunk between."""
        return self.horizon if self.mode == "open_loop" and not self.overlap else 1

    def check(self, chunk_size: int) -> None:
        """Raise ValueError where the ``chunk_size`` actions that a model predicts are not enough."""
        uses_horizon = self.mode == "open_loop" or (self.mode == "blend" and self.overlap)
        if uses_horizon and self.horizon > chunk_size:
            raise ValueError(f"chunk.horizon is {self.horizon} but the model predicts {chunk_size} actions")
        if self.mode == "blend" and self.blend_steps > chunk_size:
            raise ValueError(
                f"chunk.blend_steps is {self.blend_steps} but the model predicts {chunk_size} actions"
            )
        if self.overlap and chunk_size < 2:
            raise ValueError("chunk.overlap needs a model that predicts more than one action; this one predicts 1")
