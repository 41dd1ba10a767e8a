"""Episodes to look at: both cameras side by side under the instruction, as a GIF."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from robovlms_ros.policy.types import Observation
from robovlms_ros.sim.environment import TabletopEnvironment
from robovlms_ros.sim.expert import expert_action
from robovlms_ros.sim.scene import CAMERAS, STEP_DURATION

PANEL_SIZE = 288
CAPTION_HEIGHT = 28
_GAP = 4
_INK, _PAPER = (240, 240, 240), (32, 34, 38)
# The last frame stays for so long (seconds), so that one sees how it ended.
_PAUSE = 1.0


def panel(observation: Observation, size: int, caption: str | None = None) -> NDArray[np.uint8]:
    """What the cameras of an observation see, each scaled to ``size`` pixels, under ``caption``.

    Without a caption under the instruction. Returns ``(height, width, 3)`` RGB.
    """
    views = [view for name in CAMERAS if (view := observation.images.get(name)) is not None]
    sheet = Image.new("RGB", (len(views) * (size + _GAP) - _GAP, size + CAPTION_HEIGHT), _PAPER)
    for index, view in enumerate(views):
        # Enlarged pixels stay squares: one sees what the policy sees.
        scaled = Image.fromarray(view).resize((size, size), Image.Resampling.NEAREST)
        sheet.paste(scaled, (index * (size + _GAP), CAPTION_HEIGHT))
    text = observation.instruction if caption is None else caption
    ImageDraw.Draw(sheet).text((8, 6), text, fill=_INK, font=ImageFont.load_default(14))
    return np.asarray(sheet)


def film(environment: TabletopEnvironment, seed: int, size: int = PANEL_SIZE) -> list[NDArray[np.uint8]]:
    """The expert's episode of ``seed``, panel by panel, the cameras scaled to ``size`` pixels."""
    observation = environment.reset(seed)
    frames = [panel(observation, size)]
    while not environment.finished:
        observation = environment.step(expert_action(environment.world, environment.task))
        frames.append(panel(observation, size))
    return frames


def write_gif(path: Path | IO[bytes], frames: Sequence[NDArray[np.uint8]], seconds: float = STEP_DURATION) -> None:
    """Frames ``(H, W, 3)`` RGB, each shown for ``seconds``, the last for a second, as an endless animation.

    GIF knows hundredths of a second only, so the pace is that of the robot within a tenth.
    """
    # One palette for all frames, or flat surfaces flicker.
    palette = Image.fromarray(np.concatenate([frames[0], frames[len(frames) // 2], frames[-1]])).quantize(255)
    images = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    shown = [round(seconds * 100) * 10] * len(images)
    shown[-1] = round(_PAUSE * 1000)
    images[0].save(path, "GIF", save_all=True, append_images=images[1:], duration=shown, loop=0)
