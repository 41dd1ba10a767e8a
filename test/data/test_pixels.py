"""Decoding without ROS; test/ros/test_image.py holds it against cv_bridge and OpenCV."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from robovlms_ros.data import images
from robovlms_ros.data.pixels import PixelError, decode_raw

RGB = np.random.default_rng(7).integers(0, 256, (6, 10, 3), dtype=np.uint8)


@dataclass
class Message:
    """What a bag reader gives: plain fields and an array of bytes."""

    height: int = 6
    width: int = 10
    encoding: str = "rgb8"
    step: int = 30
    data: np.ndarray = field(default_factory=lambda: RGB.reshape(-1))


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "8UC3"])
def test_a_message_that_is_not_rosidls_is_decoded(encoding: str) -> None:
    pixels = RGB if encoding == "rgb8" else RGB[..., ::-1]
    message = Message(encoding=encoding, data=np.ascontiguousarray(pixels).reshape(-1))
    np.testing.assert_array_equal(decode_raw(message), RGB)


def test_padding_at_the_end_of_rows_is_no_pixel() -> None:
    padded = np.hstack([RGB.reshape(6, 30), np.full((6, 2), 9, np.uint8)])
    np.testing.assert_array_equal(decode_raw(Message(step=32, data=padded.reshape(-1))), RGB)


def test_short_data_is_an_error() -> None:
    with pytest.raises(PixelError, match="150 bytes, not step x height = 30 x 6"):
        decode_raw(replace(Message(), data=RGB.reshape(-1)[:150]))


def test_png_keeps_every_pixel_and_jpeg_is_close() -> None:
    np.testing.assert_array_equal(images.decode(images.encode(RGB, "png")), RGB)
    smooth = np.full((32, 48, 3), [200, 90, 30], np.uint8)
    assert np.abs(images.decode(images.encode(smooth, "jpeg")).astype(int) - smooth).max() <= 4


def test_resizing_is_pillows_bicubic_of_the_whole_image() -> None:
    assert images.resize(RGB, 4).shape == (4, 4, 3)
    square = RGB[:6, :6]
    assert images.resize(square, 6) is square


def test_what_is_no_image_is_an_error() -> None:
    with pytest.raises(PixelError, match=r"corrupt or not JPEG or PNG \(5 bytes\)"):
        images.decode(b"hello")
