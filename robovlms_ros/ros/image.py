"""Camera messages to RGB pixels, and every way in which such a message can be wrong.

The header is validated before anything is allocated. cv_bridge converts plain encodings; NumPy does what
cv_bridge cannot (padded rows, a big-endian flag on 8-bit data, 8UC3, yuv422), and everything but Bayer where it
is absent, with identical pixels. Bayer patterns go to OpenCV: some releases of cv_bridge lack one of the four.
Decoding takes part of a millisecond and runs in the inference thread, only for frames that are used.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from robovlms_ros.policy.frames import FrameError

MAX_PIXELS = 4096 * 4096
THREE_CHANNEL_ORDERS = ("bgr", "rgb")

# Encoding -> bytes per pixel and, for red, green and blue, the byte that holds it.
PLAIN = {
    "rgb8": (3, (0, 1, 2)),
    "bgr8": (3, (2, 1, 0)),
    "rgba8": (4, (0, 1, 2)),
    "bgra8": (4, (2, 1, 0)),
    "mono8": (1, (0, 0, 0)),
    "8UC1": (1, (0, 0, 0)),
}
# Encoding -> OpenCV's conversion, which is named after the second pixel of the second row.
BAYER = {
    "bayer_rggb8": "COLOR_BayerBG2RGB",
    "bayer_bggr8": "COLOR_BayerRG2RGB",
    "bayer_gbrg8": "COLOR_BayerGR2RGB",
    "bayer_grbg8": "COLOR_BayerGB2RGB",
}
# Encoding -> bytes of the first luma, of U and of V in each group of two pixels.
YUV422 = {"yuv422": (1, 0, 2), "uyvy": (1, 0, 2), "yuv422_yuy2": (0, 1, 3), "yuyv": (0, 1, 3)}
DEPTH = ("16UC1", "32FC1", "mono16", "16SC1", "64FC1")
SUPPORTED = (*PLAIN, "8UC3", *BAYER, *YUV422)


class ImageError(FrameError):
    """An image message that cannot be used; the message of the exception says why."""


@lru_cache(maxsize=1)
def opencv() -> Any | None:
    """Return the module cv2, or None where it cannot be imported."""
    try:
        import cv2
    except (ImportError, AttributeError):  # AttributeError: built against another major version of NumPy
        return None
    return cv2


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
    encoding = f"{three_channel_order}8" if message.encoding == "8UC3" else message.encoding
    pixel_bytes = _check_header(message, encoding)
    height, width, step = message.height, message.width, message.step
    rows: NDArray[np.uint8] = np.frombuffer(message.data, dtype=np.uint8).reshape(height, step)
    rows = rows[:, : width * pixel_bytes]
    if encoding in YUV422:
        return _yuv422_to_rgb(rows, YUV422[encoding])
    if encoding in BAYER:
        return _bayer_to_rgb(rows, encoding)
    tight = step == width * pixel_bytes and not message.is_bigendian
    bridge = cv_bridge() if tight and message.encoding not in ("8UC1", "8UC3") else None
    if bridge is None:
        return _plain_to_rgb(rows, encoding)
    pixels: NDArray[np.uint8] = bridge.imgmsg_to_cv2(message, "rgb8")
    return pixels


def decode_compressed(message: CompressedImage) -> NDArray[np.uint8]:
    """Return the ``(height, width, 3)`` uint8 RGB pixels of a JPEG or PNG. Raises ImageError."""
    from PIL import Image as PillowImage  # 13 ms and 5 MB that raw images do not need

    if "compressedDepth" in message.format:
        raise ImageError(f"format {message.format!r} is a depth image; this node takes colour images")
    try:
        with PillowImage.open(io.BytesIO(bytes(message.data)), formats=("JPEG", "PNG")) as image:
            _check_size(image.height, image.width)
            if image.mode.startswith(("I", "F")):
                raise ImageError(f"the {image.format} has {image.mode} pixels, not 8 bits per channel")
            return np.array(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"corrupt or not JPEG or PNG ({len(message.data)} bytes): {error}") from error


def _check_header(message: Image, encoding: str) -> int:
    """Return the bytes per pixel of a message whose header and length agree."""
    height, width, step = message.height, message.width, message.step
    if encoding in DEPTH:
        raise ImageError(f"encoding {message.encoding!r} is depth or 16-bit; this node takes 8-bit colour images")
    if encoding not in SUPPORTED:
        raise ImageError(f"unknown encoding {message.encoding!r}; supported: {', '.join(SUPPORTED)}")
    if encoding in BAYER and opencv() is None:
        raise ImageError(f"encoding {encoding!r} needs OpenCV, which cannot be imported; install python3-opencv")
    _check_size(height, width)
    if encoding in YUV422 and width % 2:
        raise ImageError(f"{encoding!r} stores pixels in pairs but the width is {width}")
    pixel_bytes = 2 if encoding in YUV422 else 1 if encoding in BAYER else PLAIN[encoding][0]
    if step < width * pixel_bytes:
        raise ImageError(f"step is {step}, less than width x {pixel_bytes} = {width * pixel_bytes}")
    if len(message.data) != step * height:
        raise ImageError(f"data has {len(message.data)} bytes, not step x height = {step} x {height}")
    return pixel_bytes


def _check_size(height: int, width: int) -> None:
    if height == 0 or width == 0:
        raise ImageError(f"the image is empty ({width} x {height})")
    if height * width > MAX_PIXELS:
        raise ImageError(f"{width} x {height} pixels are more than the {MAX_PIXELS} allowed")


def _plain_to_rgb(rows: NDArray[np.uint8], encoding: str) -> NDArray[np.uint8]:
    pixel_bytes, order = PLAIN[encoding]
    pixels = rows.reshape(rows.shape[0], -1, pixel_bytes)
    return np.ascontiguousarray(pixels[:, :, list(order)])


def _bayer_to_rgb(rows: NDArray[np.uint8], encoding: str) -> NDArray[np.uint8]:
    cv2 = opencv()
    assert cv2 is not None  # the header has been checked
    pixels: NDArray[np.uint8] = cv2.cvtColor(np.ascontiguousarray(rows), getattr(cv2, BAYER[encoding]))
    return pixels


def _yuv422_to_rgb(rows: NDArray[np.uint8], places: tuple[int, int, int]) -> NDArray[np.uint8]:
    """ITU-R BT.601, limited range, in the 20-bit fixed point of OpenCV, so that pixels are the same."""
    luma, u_place, v_place = places
    groups = rows.reshape(rows.shape[0], -1, 4).astype(np.int32)
    y = np.maximum(groups[:, :, luma::2] - 16, 0) * 1220542
    u = groups[:, :, u_place, None] - 128
    v = groups[:, :, v_place, None] - 128
    channels = (y + 1673527 * v, y - 852492 * v - 409993 * u, y + 2116026 * u)
    rgb = np.stack([(channel + (1 << 19)) >> 20 for channel in channels], axis=-1)
    return np.clip(rgb, 0, 255).astype(np.uint8).reshape(rows.shape[0], -1, 3)
