from __future__ import annotations

import array
import io
import tracemalloc
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

pytest.importorskip("sensor_msgs")
from sensor_msgs.msg import CompressedImage, Image

from robovlms_ros.data import pixels
from robovlms_ros.data.pixels import BAYER
from robovlms_ros.ros import image as images
from robovlms_ros.ros.image import ImageError, decode_compressed, decode_image

RGB = np.random.default_rng(7).integers(0, 256, (6, 10, 3), dtype=np.uint8)
ENCODED = {
    "rgb8": RGB,
    "bgr8": RGB[..., ::-1],
    "rgba8": np.dstack([RGB, np.full((6, 10), 99, np.uint8)]),
    "bgra8": np.dstack([RGB[..., ::-1], np.full((6, 10), 99, np.uint8)]),
    "mono8": RGB[..., 1],
    "8UC1": RGB[..., 1],
    "8UC3": RGB[..., ::-1],
}
MONO = ("mono8", "8UC1")


def message(pixels: np.ndarray, encoding: str, padding: int = 0, **changes: Any) -> Image:
    """Build an image whose rows are followed by ``padding`` bytes of noise."""
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels).reshape(height, -1)
    rows = np.hstack([rows, np.full((height, padding), 0xAB, np.uint8)])
    built = Image(height=height, width=width, encoding=encoding, step=rows.shape[1])
    built.data = array.array("B", rows.tobytes())
    return changed(built, **changes)


def changed(image: Image, **changes: Any) -> Image:
    for name, value in changes.items():
        setattr(image, name, value)
    return image


def expected(encoding: str) -> np.ndarray:
    return np.repeat(RGB[..., 1:2], 3, axis=2) if encoding in MONO else RGB


@pytest.fixture(params=["with cv_bridge", "without cv_bridge"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "without cv_bridge":
        monkeypatch.setattr(images, "cv_bridge", lambda: None)
    else:
        pytest.importorskip("cv_bridge")
        assert images.cv_bridge() is not None
    return str(request.param)


@pytest.mark.fault(5)
@pytest.mark.parametrize("big_endian", [0, 1])
@pytest.mark.parametrize("padding", [0, 1, 6])
@pytest.mark.parametrize("encoding", ENCODED)
def test_plain_encodings_give_the_same_pixels_either_way(
    both_ways: str, encoding: str, padding: int, big_endian: int
) -> None:
    decoded = decode_image(message(ENCODED[encoding], encoding, padding, is_bigendian=big_endian))
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, expected(encoding))


def test_the_order_of_8uc3_is_told(both_ways: str) -> None:
    np.testing.assert_array_equal(decode_image(message(RGB, "8UC3"), three_channel_order="rgb"), RGB)


@pytest.mark.fault(5)
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (3, 5)])
def test_odd_sizes_are_decoded(both_ways: str, shape: tuple[int, int]) -> None:
    pixels = RGB[: shape[0], : shape[1]]
    np.testing.assert_array_equal(decode_image(message(pixels, "bgr8", 2)), pixels[..., ::-1])


@pytest.mark.fault(5)
@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize("encoding", BAYER)
def test_bayer_patterns_are_told_apart_padding_and_all(encoding: str, padding: int) -> None:
    pytest.importorskip("cv2")
    # Only the sites of the red filter, known from the encoding's name, see light.
    red = np.zeros((8, 8), np.uint8)
    site = encoding.removeprefix("bayer_").index("r")
    red[site // 2 :: 2, site % 2 :: 2] = 200
    decoded = decode_image(message(red, encoding, padding))[2:6, 2:6]
    np.testing.assert_array_equal(decoded, np.broadcast_to([200, 0, 0], (4, 4, 3)))


@pytest.mark.parametrize("encoding", ["bayer_rggb8", "bayer_bggr8", "bayer_gbrg8"])
def test_bayer_equals_cv_bridge(encoding: str) -> None:
    pytest.importorskip("cv_bridge")
    noise = message(np.random.default_rng(3).integers(0, 256, (12, 16), dtype=np.uint8), encoding)
    np.testing.assert_array_equal(decode_image(noise), images.cv_bridge().imgmsg_to_cv2(noise, "rgb8"))


def test_bayer_without_opencv_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "opencv", lambda: None)
    with pytest.raises(ImageError, match="needs OpenCV"):
        decode_image(message(np.zeros((4, 4), np.uint8), "bayer_rggb8"))


@pytest.mark.fault(5)
@pytest.mark.parametrize(
    ("encoding", "conversion"),
    [
        ("yuv422", "COLOR_YUV2RGB_UYVY"),
        ("uyvy", "COLOR_YUV2RGB_UYVY"),
        ("yuv422_yuy2", "COLOR_YUV2RGB_YUY2"),
        ("yuyv", "COLOR_YUV2RGB_YUY2"),
    ],
)
def test_yuv422_equals_opencv(encoding: str, conversion: str) -> None:
    cv2 = pytest.importorskip("cv2")
    packed = np.random.default_rng(1).integers(0, 256, (40, 64, 2), dtype=np.uint8)
    reference = cv2.cvtColor(packed, getattr(cv2, conversion))
    for padding in (0, 3):
        np.testing.assert_array_equal(decode_image(message(packed, encoding, padding)), reference)


@pytest.mark.fault(5)
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"height": 0}, "empty"),
        ({"width": 0}, "empty"),
        ({"height": 5}, r"180 bytes, not step x height = 30 x 5"),
        ({"height": 7}, r"180 bytes, not step x height = 30 x 7"),
        ({"step": 29}, r"step is 29, less than width x 3 = 30"),
        ({"step": 0}, "step is 0"),
        ({"encoding": "rgb9"}, "unknown encoding 'rgb9'; supported: rgb8"),
        ({"encoding": ""}, "unknown encoding ''"),
        ({"encoding": "16UC1"}, "depth"),
        ({"encoding": "32FC1"}, "depth"),
        ({"encoding": "mono16"}, "16-bit"),
        ({"encoding": "yuv422", "width": 9}, "the width is 9"),
    ],
)
def test_a_header_that_cannot_be_right_is_refused_with_the_reason(
    both_ways: str, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ImageError, match=reason):
        decode_image(changed(message(RGB, "rgb8"), **changes))


@pytest.mark.fault(5)
def test_a_header_of_a_hundred_megapixels_allocates_nothing() -> None:
    lying = message(RGB, "rgb8", height=10_000, width=10_000, step=30_000)
    tracemalloc.start()
    with pytest.raises(ImageError, match="more than the 16777216 allowed"):
        decode_image(lying)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def compressed(kind: str, pixels: np.ndarray = RGB, **options: Any) -> CompressedImage:
    buffer = io.BytesIO()
    PillowImage.fromarray(pixels).save(buffer, kind, **options)
    return CompressedImage(format=kind.lower(), data=array.array("B", buffer.getvalue()))


def test_a_png_is_decoded_exactly() -> None:
    np.testing.assert_array_equal(decode_compressed(compressed("PNG")), RGB)
    np.testing.assert_array_equal(
        decode_compressed(compressed("PNG", RGB[..., 0])), np.repeat(RGB[..., :1], 3, axis=2)
    )


def test_a_jpeg_is_decoded_closely() -> None:
    smooth = np.full((32, 48, 3), [200, 90, 30], np.uint8)
    decoded = decode_compressed(compressed("JPEG", smooth, quality=95))
    assert np.abs(decoded.astype(int) - smooth).max() <= 4


@pytest.mark.fault(6)
@pytest.mark.parametrize("cut", [0, 10, 300])
def test_a_corrupt_jpeg_is_an_error(cut: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = compressed("JPEG", noise)
    whole.data = whole.data[:cut]
    with pytest.raises(ImageError, match="corrupt"):
        decode_compressed(whole)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF"])
def test_other_formats_are_refused(kind: str) -> None:
    with pytest.raises(ImageError, match="not JPEG or PNG"):
        decode_compressed(compressed(kind))


def test_a_small_file_that_unfolds_into_a_huge_image_is_refused_before_it_does() -> None:
    bomb = compressed("PNG", np.zeros((5000, 5000), np.uint8))
    assert len(bomb.data) < 100_000
    tracemalloc.start()
    with pytest.raises(ImageError, match="more than the 16777216 allowed"):
        decode_compressed(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_compressed_depth_is_refused() -> None:
    depth = compressed("PNG", RGB[..., 0].astype(np.uint16))
    with pytest.raises(ImageError, match="8 bits per channel"):
        decode_compressed(depth)
    depth.format = "16UC1; compressedDepth png"
    with pytest.raises(ImageError, match="depth"):
        decode_compressed(depth)
