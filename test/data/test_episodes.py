from __future__ import annotations

import numpy as np
import pytest

from robovlms_ros.data.episodes import ArrayEpisode, Episode, EpisodeSource, MemorySource
from robovlms_ros.data.errors import DataError


def episode(**changes: object) -> ArrayEpisode:
    content: dict[str, object] = {
        "identifier": "7",
        "instruction": "push the button",
        "step_duration": 0.1,
        "actions": np.zeros((3, 7)),
        "images": {"static": np.zeros((3, 4, 6, 3), np.uint8)},
    }
    return ArrayEpisode(**{**content, **changes})  # type: ignore[arg-type]


def test_an_episode_in_memory_is_an_episode() -> None:
    one: Episode = episode()
    source: EpisodeSource = MemorySource("test", [one])
    assert (len(source), len(source[0]), source[0].cameras) == (1, 3, ("static",))
    assert source[0].image("static", 2).shape == (4, 6, 3)


def rows(step: int, dimension: int, value: float) -> np.ndarray:
    made = np.zeros((3, 7))
    made[step, dimension] = value
    return made


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"actions": np.zeros((3, 6))}, r"episode 7: actions must have the shape \(steps, 7\)"),
        ({"actions": np.zeros((0, 7))}, "shape"),
        ({"actions": rows(1, 2, np.nan)}, "episode 7, step 1: number 2 of the actions is nan"),
        ({"actions": rows(2, 6, 1.5)}, "step 2: the gripper opening in actions is 1.5"),
        ({"states": np.zeros((2, 7))}, "2 states for 3 actions"),
        ({"images": {"hand": np.zeros((2, 4, 6, 3), np.uint8)}}, "2 images of camera 'hand' for 3 actions"),
    ],
)
def test_what_no_episode_may_be_names_episode_and_step(changes: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        episode(**changes)
