"""Real camera frames: from a file of the user's, or from photographs that a dependency ships."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence, UnidentifiedImageError

IMAGE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".webp"}
MAX_FRAMES = 1000


class FootageError(ValueError):
    """There are no camera frames to be had from the named source."""


@dataclass(frozen=True)
class Footage:
    """Camera frames in order. ``frames``: ``(H, W, 3)`` uint8 RGB arrays. ``source`` says where they are from."""

    source: str
    frames: list[NDArray[np.uint8]]


def load_footage(path: Path | None = None) -> Footage:
    """Frames of an animated image or of a folder of images; without ``path``, of the photographs we come with.

    Raises:
        FootageError: the path does not exist, holds no image, or holds one that cannot be decoded.
    """
    if path is None:
        return Footage("a camera panning over the photograph china.jpg of scikit-learn", list(_pan()))
    if not path.exists():
        raise FootageError(f"{path} does not exist: name an animated image (webp, gif) or a folder of images")
    files = sorted(f for f in path.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES) if path.is_dir() else [path]
    if not files:
        raise FootageError(f"{path} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    frames: list[NDArray[np.uint8]] = []
    for file in files:
        try:
            with Image.open(file) as image:
                frames.extend(np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image))
        except (OSError, UnidentifiedImageError) as error:
            raise FootageError(f"{file} cannot be decoded as an image: {error}") from error
        if len(frames) > MAX_FRAMES:
            raise FootageError(f"{path} has more than {MAX_FRAMES} frames: cut it into shorter pieces")
    return Footage(str(path), frames)


def _pan(count: int = 28, height: int = 360, width: int = 480) -> Iterator[NDArray[np.uint8]]:
    """A camera that moves over a still photograph and back: real texture, and every frame differs."""
    try:
        from sklearn.datasets import load_sample_image
    except ImportError as error:
        raise FootageError(
            "the photographs come with scikit-learn: 'pip install scikit-learn', or name footage of your own"
        ) from error
    photograph = load_sample_image("china.jpg")
    room_y, room_x = photograph.shape[0] - height, photograph.shape[1] - width
    for i in range(count):
        along = 0.5 - 0.5 * np.cos(2 * np.pi * i / count)
        y, x = round(along * room_y), round(along * room_x)
        yield np.ascontiguousarray(photograph[y : y + height, x : x + width])
