"""The pixels behind the references of a result, read from the bag again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.data.bag.file import BagError
from robovlms_ros.data.bag.images import COMPRESSED
from robovlms_ros.data.images import decode
from robovlms_ros.data.pixels import PixelError, decode_raw
from robovlms_ros.policy.frames import FrameError
from robovlms_ros.replay.opening import open_for_replay
from robovlms_ros.replay.problems import Problems
from robovlms_ros.replay.result import ImageReference


def decode_message(message: Any, compressed: bool, three_channel_order: str = "bgr") -> NDArray[np.uint8]:
    """The ``(H, W, 3)`` uint8 RGB pixels of a decoded image message, as the node sees them. Raises FrameError."""
    try:
        if not compressed:
            return decode_raw(message, three_channel_order)
        if "compressedDepth" in message.format:
            raise PixelError(f"format {message.format!r} is a depth image; the model takes colour images")
        return decode(bytes(message.data))
    except PixelError as error:
        raise FrameError(str(error)) from error


def read_images(
    bag: Path, wanted: Collection[ImageReference], three_channel_order: str = "bgr"
) -> Iterator[tuple[ImageReference, NDArray[np.uint8]]]:
    """Yield those of ``wanted`` that can be read and their ``(H, W, 3)`` uint8 RGB pixels, in the bag's order.

    One image is in memory at a time. Of a damaged bag they are read as far as they can be. Raises `BagError` where
    the bag cannot be opened.
    """
    references = {(reference.topic, reference.number): reference for reference in wanted}
    passed: Counter[str] = Counter()
    with open_for_replay(bag, Problems(keep_going=True)) as opened:
        for message in opened.messages({topic for topic, _ in references}):
            reference = references.pop((message.topic, passed[message.topic]), None)
            passed[message.topic] += 1
            if reference is not None:
                try:
                    decoded = opened.decode(message)
                    pixels = decode_message(decoded, message.type_name == COMPRESSED, three_channel_order)
                except (BagError, FrameError):
                    continue
                yield reference, pixels
            if not references:
                return
