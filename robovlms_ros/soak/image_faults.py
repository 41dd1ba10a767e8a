"""Images as they should not be: each takes a good one and returns what the camera sends instead, or nothing."""

from __future__ import annotations

import array
import copy
from collections.abc import Callable
from random import Random
from typing import Any

from sensor_msgs.msg import Image

from robovlms_ros.ros.messages import to_nanoseconds, to_time
from robovlms_ros.soak.camera import Spoil, rgb_image
from robovlms_ros.soak.watcher import SECOND


def changed(image: Image, **changes: Any) -> Image:
    """Return ``image`` with other fields; the pixels are shared."""
    header, other = copy.copy(image.header), copy.copy(image)
    other.header = header
    for name, value in changes.items():
        setattr(other, name, value)
    return other


def shifted(image: Image, nanoseconds: int) -> Image:
    """Return ``image`` with another stamp."""
    other = changed(image)
    other.header = copy.copy(image.header)
    other.header.stamp = to_time(to_nanoseconds(image.header.stamp) + nanoseconds)
    return other


def unstamped(image: Image) -> Image:
    """Return ``image`` with stamp zero."""
    return shifted(image, -to_nanoseconds(image.header.stamp))


def padded(image: Image) -> Image:
    """Return ``image`` with 64 bytes behind each row, which is allowed."""
    row, step = image.step, image.step + 64
    data = array.array("B", bytes(step * image.height))
    for number in range(image.height):
        data[number * step : number * step + row] = image.data[number * row : (number + 1) * row]
    return changed(image, data=data, step=step)


def oversized(random: Random) -> Spoil:
    """Send images of 1920x1080 and 4096x3072."""
    sizes = [rgb_image(*size) for size in ((1920, 1080), (4096, 3072))]

    def spoil(image: Image) -> Image:
        large = random.choice(sizes)
        return changed(large, header=image.header)

    return spoil


def repeated(random: Random) -> Spoil:
    """Send each stamp twice."""
    before: list[Image] = []

    def spoil(image: Image) -> Image:
        if before:
            return before.pop()
        before.append(changed(image, header=copy.deepcopy(image.header)))
        return image

    return spoil


def jumping(random: Random) -> Spoil:
    """Send stamps that jump back and forth."""
    return lambda image: shifted(image, -random.randrange(0, SECOND // 10))


def dropping(random: Random) -> Spoil:
    """Send one image of three."""
    return lambda image: image if random.random() < 1 / 3 else None


def every(change: Callable[[Image], Image | None]) -> Callable[[Random], Spoil]:
    """Return the fault that makes ``change`` of each image."""
    return lambda random: change


REFUSED: dict[str, Callable[[Random], Spoil]] = {
    "no image at all": every(lambda image: None),
    "unknown encoding": every(lambda image: changed(image, encoding="rgb9")),
    "depth image": every(lambda image: changed(image, encoding="32FC1")),
    "data too short": every(lambda image: changed(image, data=image.data[:1000])),
    "data too long": every(lambda image: changed(image, height=image.height - 1)),
    "empty image": every(lambda image: changed(image, width=0, step=0, data=array.array("B"))),
    "100 megapixel header": every(lambda image: changed(image, width=10_000, height=10_000, step=30_000)),
    "step too small": every(lambda image: changed(image, step=image.step - 1)),
    "stamps of ten seconds ago": every(lambda image: shifted(image, -10 * SECOND)),
    "stamps of a slow camera": every(lambda image: shifted(image, -SECOND * 7 // 10)),
    "stamps of tomorrow": every(lambda image: shifted(image, 86_400 * SECOND)),
}
"""No action may come of these."""

TAKEN: dict[str, Callable[[Random], Spoil]] = {
    "padded rows": every(padded),
    "no stamp": every(unstamped),
    "big-endian flag": every(lambda image: changed(image, is_bigendian=1)),
    "BGR": every(lambda image: changed(image, encoding="bgr8")),
    "one pixel": every(lambda image: changed(image, width=1, height=1, step=3, data=array.array("B", bytes(3)))),
    "stamps sent twice": repeated,
    "stamps that jump": jumping,
    "two of three images lost": dropping,
}
"""The node acts on these, or on those among them that are good."""
