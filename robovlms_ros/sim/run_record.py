"""What was seen of a run on the tabletop: episodes with their images, outcome and latencies. Needs no MuJoCo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Family = Literal["pick", "stack"]
Frame = Mapping[str, NDArray[np.uint8]]
"""Images ``(S, S, 3)`` RGB by camera, "static" and "hand"."""


@dataclass(frozen=True)
class EpisodeRecord:
    """One episode. ``latencies``: seconds from an image to its answer.

    ``heights`` in metres and ``openings`` are the tool's, by frame. ``why`` says more where it did not succeed.
    ``seconds`` is how long it took, by the wall's clock.
    """

    number: int
    seed: int
    family: Family
    instruction: str
    succeeded: bool
    steps: int
    why: str = ""
    seconds: float = 0.0
    frames: Sequence[Frame] = ()
    latencies: Sequence[float] = ()
    heights: Sequence[float] = ()
    openings: Sequence[float] = ()

    @property
    def latency(self) -> float:
        """Median latency in seconds; NaN where there is none."""
        return median(self.latencies)


@dataclass(frozen=True)
class RunRecord:
    """All episodes of a run, the model card, and what else there is to say, by name."""

    episodes: Sequence[EpisodeRecord]
    card: Mapping[str, object] = field(default_factory=dict)
    facts: Mapping[str, object] = field(default_factory=dict)

    @property
    def successes(self) -> int:
        """How many succeeded."""
        return sum(episode.succeeded for episode in self.episodes)

    @property
    def latency(self) -> float:
        """Median latency of all steps in seconds; NaN where there is none."""
        return median([latency for episode in self.episodes for latency in episode.latencies])

    def summary(self) -> str:
        """The run in one line."""
        return f"success {self.successes}/{len(self.episodes)}, latency p50 {self.latency * 1e3:.1f} ms"


def median(values: Sequence[float]) -> float:
    """The median; NaN of nothing."""
    return float(np.median(values)) if len(values) else float("nan")
