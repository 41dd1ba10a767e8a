"""An episode to look at: one picture with its frames, or an animation at the speed of the recording."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from robovlms_ros.data.episodes import Episode

if TYPE_CHECKING:
    from PIL.Image import Image

_MARGIN, _LINE = 6, 14
_TEXT, _PAPER, _OPEN, _CLOSED = (20, 20, 20), (255, 255, 255), (40, 150, 70), (200, 60, 50)
# Shortest time of a frame that viewers of GIF respect, in milliseconds.
_GIF_STEP_MS = 20


def contact_sheet(episode: Episode, *, frames: int = 12, columns: int = 4, height: int = 160) -> bytes:
    """A PNG: ``frames`` steps spread over the episode, every camera, with the action of each.

    ``height`` is that of one image in pixels.
    """
    steps = np.unique(np.linspace(0, len(episode) - 1, frames).round().astype(int)).tolist()
    cells = [_cell(episode, step, height) for step in steps]
    return _png(_arranged(cells, columns, _title(episode)))


def animation(episode: Episode, *, height: int = 160) -> bytes:
    """A GIF of the whole episode that plays as fast as it was recorded."""
    cells = [_cell(episode, step, height) for step in range(len(episode))]
    frames = [_arranged([cell], 1, _title(episode)) for cell in cells]
    buffer = io.BytesIO()
    duration = max(round(episode.step_duration * 1000), _GIF_STEP_MS)
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=duration, loop=0)
    return buffer.getvalue()


def _title(episode: Episode) -> str:
    seconds = len(episode) * episode.step_duration
    return f"{episode.identifier}: {episode.instruction!r}, {len(episode)} steps, {seconds:.1f} s"


def _cell(episode: Episode, step: int, height: int) -> Image:
    """All cameras side by side, and below them what the arm did."""
    from PIL import Image, ImageDraw

    images = [Image.fromarray(episode.image(camera, step)) for camera in episode.cameras]
    images = [image.resize((round(image.width * height / image.height), height)) for image in images]
    width = max(sum(image.width for image in images) + 2 * (len(images) - 1), 220)
    cell = Image.new("RGB", (width, height + 2 * _LINE + 8), _PAPER)
    left = 0
    for image in images:
        cell.paste(image, (left, 0))
        left += image.width + 2
    x, y, z, *rotation, opening = episode.actions[step].tolist()
    draw = ImageDraw.Draw(cell)
    draw.text((0, height + 1), f"{step}  {x * 1000:+.1f} {y * 1000:+.1f} {z * 1000:+.1f} mm", _TEXT)
    degrees = " ".join(f"{np.degrees(angle):+.1f}" for angle in rotation)
    draw.text((0, height + 1 + _LINE), f"{degrees} deg", _TEXT)
    # The gripper as a bar: full and green where it is open.
    bar = height + 2 * _LINE + 2
    draw.rectangle((0, bar, width - 1, bar + 4), outline=_CLOSED)
    draw.rectangle((0, bar, round((width - 1) * opening), bar + 4), fill=_OPEN if opening >= 0.5 else _CLOSED)
    return cell


def _arranged(cells: Sequence[Image], columns: int, title: str) -> Image:
    from PIL import Image, ImageDraw

    columns = min(columns, len(cells))
    rows = -(-len(cells) // columns)
    width, height = max(cell.width for cell in cells) + _MARGIN, max(cell.height for cell in cells) + _MARGIN
    top = _LINE + 2 * _MARGIN
    sheet = Image.new("RGB", (columns * width + _MARGIN, rows * height + top), _PAPER)
    # Pillow's own font has no other letters.
    shown = title.encode("ascii", "replace").decode()
    ImageDraw.Draw(sheet).text((_MARGIN, _MARGIN), shown, _TEXT)
    for number, cell in enumerate(cells):
        sheet.paste(cell, (_MARGIN + number % columns * width, top + number // columns * height))
    return sheet


def _png(image: Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
