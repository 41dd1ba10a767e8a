"""Animations of episodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robovlms_ros.policy.types import Observation
from robovlms_ros.sim.animation import CAPTION_HEIGHT, film, panel, write_gif
from robovlms_ros.sim.environment import TabletopEnvironment


def test_a_film_of_an_episode_shows_every_step(environment: TabletopEnvironment, tmp_path: Path) -> None:
    frames = film(environment, seed=0, size=64)
    assert len(frames) == environment.steps + 1
    write_gif(tmp_path / "film.gif", frames)
    with Image.open(tmp_path / "film.gif") as gif:
        assert gif.n_frames == len(frames)
        assert gif.info["duration"] == 50
        assert gif.size == (64 + 4 + 64, 64 + CAPTION_HEIGHT)


@pytest.mark.parametrize("hand", [True, False])
def test_a_panel_has_the_cameras_that_there_are(hand: bool) -> None:
    red, blue = (np.full((8, 8, 3), colour, np.uint8) for colour in ([255, 0, 0], [0, 0, 255]))
    shown = panel(Observation({"static": red, "hand": blue if hand else None}, "go"), 16)
    assert shown.shape == (16 + CAPTION_HEIGHT, 36 if hand else 16, 3)
    assert (shown[-1, 0] == [255, 0, 0]).all()
    assert (shown[-1, -1] == ([0, 0, 255] if hand else [255, 0, 0])).all()
