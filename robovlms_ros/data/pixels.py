"""Raw camera messages to RGB pixels, in NumPy, and every way in which such a message can be wrong.

A message is anything with the fields of ``sensor_msgs/Image``: one of ROS's, or one read from a bag without ROS.
The header is validated before anything is allocated. Bayer patterns go to OpenCV.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

MAX_PIXELS = 4096 * 4096

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


class PixelError(ValueError):
    """An image that cannot be used; the message says why."""


class RawImage(Protocol):
    """The fields of a ``sensor_msgs/Image`` that make its pixels; ``data`` is any buffer of bytes."""

    height: int
    width: int
    encoding: str
    step: int
    data: Any


@lru_cache(maxsize=1)
def opencv() -> Any | None:
    """Return the module cv2, or None where it cannot be imported."""
    try:
        import cv2
    except (ImportError, AttributeError):  # AttributeError: built against another major version of NumPy
        return None
    return cv2


def named_encoding(encoding: str, three_channel_order: str) -> str:
    """``encoding``, with the generic 8UC3 taken to hold ``three_channel_order``, "bgr" or "rgb"."""
    return f"{three_channel_order}8" if encoding == "8UC3" else encoding


def decode_raw(message: RawImage, three_channel_order: str = "bgr") -> NDArray[np.uint8]:
    """Return the ``(height, width, 3)`` uint8 RGB pixels of ``message``; they may share its buffer.

    ``three_channel_order`` says what the generic encoding 8UC3 holds. Raises `PixelError`.
    """
    encoding = named_encoding(message.encoding, three_channel_order)
    pixel_bytes = check_header(message, encoding)
    rows: NDArray[np.uint8] = np.frombuffer(message.data, dtype=np.uint8).reshape(message.height, message.step)
    rows = rows[:, : message.width * pixel_bytes]
    if encoding in YUV422:
        return _yuv422_to_rgb(rows, YUV422[encoding])
    if encoding in BAYER:
        return _bayer_to_rgb(rows, encoding)
    return _plain_to_rgb(rows, encoding)


def check_header(message: RawImage, encoding: str) -> int:
    """Return the bytes per pixel of a message whose header and length agree. Raises `PixelError`."""
    height, width, step = message.height, message.width, message.step
    if encoding in DEPTH:
        raise PixelError(f"encoding {message.encoding!r} is depth or 16-bit; 8-bit colour images are needed")
    if encoding not in SUPPORTED:
        raise PixelError(f"unknown encoding {message.encoding!r}; supported: {', '.join(SUPPORTED)}")
    if encoding in BAYER and opencv() is None:
        raise PixelError(f"encoding {encoding!r} needs OpenCV, which cannot be imported; install python3-opencv")
    check_size(height, width)
    if encoding in YUV422 and width % 2:
        raise PixelError(f"{encoding!r} stores pixels in pairs but the width is {width}")
    pixel_bytes = 2 if encoding in YUV422 else 1 if encoding in BAYER else PLAIN[encoding][0]
    if step < width * pixel_bytes:
        raise PixelError(f"step is {step}, less than width x {pixel_bytes} = {width * pixel_bytes}")
    if len(message.data) != step * height:
        raise PixelError(f"data has {len(message.data)} bytes, not step x height = {step} x {height}")
    return pixel_bytes


def check_size(height: int, width: int) -> None:
    """Raise `PixelError` for an image that is empty, or too large to be one of a robot's cameras."""
    if height == 0 or width == 0:
        raise PixelError(f"the image is empty ({width} x {height})")
    if height * width > MAX_PIXELS:
        raise PixelError(f"{width} x {height} pixels are more than the {MAX_PIXELS} allowed")


def _plain_to_rgb(rows: NDArray[np.uint8], encoding: str) -> NDArray[np.uint8]:
    pixel_bytes, order = PLAIN[encoding]
    pixels = rows.reshape(rows.shape[0], -1, pixel_bytes)
    # Slices are several times as fast as a list of places.
    if order == (0, 1, 2):
        return np.ascontiguousarray(pixels[:, :, :3])
    if order == (2, 1, 0):
        return np.ascontiguousarray(pixels[:, :, 2::-1])
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
