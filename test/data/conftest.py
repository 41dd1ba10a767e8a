"""Episodes made for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from robovlms_ros.data.episodes import ArrayEpisode, MemorySource


def made_episode(number: int = 0, steps: int = 5, **changes: Any) -> ArrayEpisode:
    """An episode whose every number and pixel is its own."""
    random = np.random.default_rng(number)
    actions = random.uniform(-0.02, 0.02, (steps, 7))
    actions[:, 6] = random.integers(0, 2, steps)
    states = random.uniform(-1, 1, (steps, 7))
    states[:, 6] = random.uniform(0, 1, steps)
    content: dict[str, Any] = {
        "identifier": f"e{number}",
        "instruction": f"do task {number}",
        "step_duration": 0.1,
        "actions": actions,
        "states": states,
        "images": {
            "static": random.integers(0, 256, (steps, 12, 16, 3), dtype=np.uint8),
            "hand": random.integers(0, 256, (steps, 8, 8, 3), dtype=np.uint8),
        },
    }
    return ArrayEpisode(**{**content, **changes})


@pytest.fixture
def make_episode() -> Callable[..., ArrayEpisode]:
    return made_episode


@pytest.fixture
def source() -> MemorySource:
    """Four episodes of 5 steps."""
    return MemorySource("made", [made_episode(number) for number in range(4)], "axis_angle", "world")
