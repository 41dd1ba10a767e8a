from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from robovlms_ros.data.contact_sheet import animation, contact_sheet
from robovlms_ros.data.episodes import ArrayEpisode


def test_a_sheet_shows_the_frames_of_every_camera(make_episode: Callable[..., ArrayEpisode]) -> None:
    colours = np.zeros((7, 30, 40, 3), np.uint8)
    colours[:] = np.arange(10, 80, 10, dtype=np.uint8)[:, None, None, None]
    hand = colours[:, :30, :30] + np.uint8(100)
    episode = make_episode(0, steps=7, images={"static": colours, "hand": hand}, instruction="öffne 抽屉")
    sheet = np.array(Image.open(io.BytesIO(contact_sheet(episode, frames=4, columns=2, height=60))))
    counts = np.bincount(sheet[(sheet == sheet[..., :1]).all(axis=-1)][:, 0], minlength=256)
    # Steps 0, 2, 4, 6 of both cameras and no other (text has a few greys of its own).
    assert set(np.flatnonzero(counts[:240] > 2000).tolist()) == {10, 30, 50, 70, 110, 130, 150, 170}


@pytest.mark.parametrize(("step_duration", "milliseconds"), [(0.1, 100), (0.005, 20)])
def test_an_animation_has_every_frame_at_the_pace_of_the_recording(
    make_episode: Callable[..., ArrayEpisode], step_duration: float, milliseconds: int
) -> None:
    gif = Image.open(io.BytesIO(animation(make_episode(0, steps=5, step_duration=step_duration))))
    assert (gif.n_frames, gif.info["duration"]) == (5, milliseconds)


def test_an_episode_without_images_shows_its_actions(make_episode: Callable[..., ArrayEpisode]) -> None:
    assert contact_sheet(make_episode(0, images={})).startswith(b"\x89PNG")
