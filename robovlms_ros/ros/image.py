"""Camera messages to RGB pixels: by cv_bridge where it can, by `robovlms_ros.data.pixels` where it cannot.

cv_bridge converts plain encodings; NumPy does what it cannot (padded rows, a big-endian flag on 8-bit data, 8UC3,
yuv422), and everything but Bayer where it is absent, with identical pixels. Bayer patterns go to OpenCV: some
releases of cv_bridge lack one of the four. Decoding takes part of a millisecond and runs in the inference thread,
only for frames that are used.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from robovlms_ros.data.images import decode
from robovlms_ros.data.pixels import PLAIN, PixelError, check_header, decode_raw, opencv
from robovlms_ros.policy.frames import FrameError


class ImageError(FrameError):
    """An image message that cannot be used; the message of the exception says why."""


@lru_cache(maxsize=1)
def cv_bridge() -> Any | None:
    """Return a CvBridge, or None where cv_bridge or the OpenCV below it cannot be imported."""
    try:
        from cv_bridge import CvBridge
    except (ImportError, AttributeError):
        return None
    return CvBridge() if opencv() else None  # the PyPI wheel imports cv2 only in the middle of a conversion


def decode_image(message: Image, three_channel_order: str = "bgr") -> NDArray[np.uint8]:
    """Return the ``(height, width, 3)`` uint8 RGB pixels of ``message``; they may share its buffer.

    ``three_channel_order`` says what the generic encoding 8UC3 holds. Raises ImageError.
    """
    try:
        if message.encoding not in PLAIN or message.encoding == "8UC1" or message.is_bigendian:
            return decode_raw(message, three_channel_order)
        pixel_bytes = check_header(message, message.encoding)
        bridge = cv_bridge() if message.step == message.width * pixel_bytes else None
        if bridge is None:
            return decode_raw(message)
    except PixelError as error:
        raise ImageError(str(error)) from error
    pixels: NDArray[np.uint8] = bridge.imgmsg_to_cv2(message, "rgb8")
    return pixels


def decode_compressed(message: CompressedImage) -> NDArray[np.uint8]:
    """Return the ``(height, width, 3)`` uint8 RGB pixels of a JPEG or PNG. Raises ImageError."""
    if "compressedDepth" in message.format:
        raise ImageError(f"format {message.format!r} is a depth image; this node takes colour images")
    try:
        return decode(bytes(message.data))
    except PixelError as error:
        raise ImageError(str(error)) from error
