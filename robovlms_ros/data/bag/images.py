"""Reads the images of a bag that episodes ask for: in order of time without going back, otherwise by seeking."""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.data.bag.file import Bag, BagError, BagMessage, open_bag
from robovlms_ros.data.pixels import PixelError, decode_raw

COMPRESSED = "sensor_msgs/msg/CompressedImage"
# Images kept of those that passed while another was looked for: cameras are not recorded in step.
_KEPT = 32
# What is nearer than this is read up to, what is farther is sought.
_READ_ON_NS = 2_000_000_000


class BagImages:
    """The images of several bags; one bag is open at a time.

    Args:
        three_channel_order: what images of the encoding 8UC3 hold, "bgr" or "rgb".
    """

    def __init__(self, three_channel_order: str = "bgr") -> None:
        self._order = three_channel_order
        self._stack = ExitStack()
        self._path: Path | None = None
        self._bag: Bag | None = None
        self._topics: frozenset[str] = frozenset()
        self._ahead: Iterator[BagMessage] | None = None
        self._position: dict[str, int] = {}
        self._passed: OrderedDict[tuple[str, int], BagMessage] = OrderedDict()

    def read(
        self, path: Path, topic: str, number: int, received: Mapping[str, list[int]]
    ) -> bytes | NDArray[np.uint8]:
        """Image ``number`` of ``topic``: a JPEG or PNG as it is, or ``(H, W, 3)`` RGB. Raises `PixelError`.

        ``received`` are the times of reception of all images of every topic that is read.
        """
        try:
            bag = self._opened(path, received.keys())
            message = self._find(bag, topic, number, received)
            image = bag.decode(message)
        except BagError as error:
            self.close()
            raise PixelError(str(error)) from error
        if message.type_name != COMPRESSED:
            return decode_raw(image, self._order)
        if "compressedDepth" in image.format:
            raise PixelError(f"format {image.format!r} is a depth image")
        return bytes(image.data)

    def close(self) -> None:
        """Close the bag that is open; the next image opens it again."""
        self._ahead = None
        self._passed.clear()
        self._path = self._bag = None
        self._stack.close()

    def _opened(self, path: Path, topics: Collection[str]) -> Bag:
        if self._bag is None or path != self._path:
            self.close()
            # What could not be read was reported when the bag was first opened.
            self._bag = self._stack.enter_context(open_bag(path, lambda file, reason: None))
            self._path = path
            self._topics = frozenset(topics)
        return self._bag

    def _find(self, bag: Bag, topic: str, number: int, received: Mapping[str, list[int]]) -> BagMessage:
        wanted = (topic, number)
        if wanted in self._passed:
            return self._passed[wanted]
        time_ns = received[topic][number]
        if self._ahead is None or not self._position[topic] <= number or not self._near(time_ns, received):
            self._ahead = bag.messages(self._topics, time_ns)
            self._position = {name: bisect_left(times, time_ns) for name, times in received.items()}
            self._passed.clear()
        for message in self._ahead:
            place = (message.topic, self._position[message.topic])
            self._position[message.topic] += 1
            self._passed[place] = message
            if len(self._passed) > _KEPT:
                self._passed.popitem(last=False)
            if place == wanted:
                if message.time_ns != time_ns:
                    break
                return message
        self._ahead = None
        raise BagError(f"image {number} of {topic!r} is not where it was: the files of the bag overlap in time")

    def _near(self, time_ns: int, received: Mapping[str, list[int]]) -> bool:
        """Whether reading on reaches ``time_ns`` soon."""
        ahead = [
            times[self._position[name]] for name, times in received.items() if self._position[name] < len(times)
        ]
        return bool(ahead) and time_ns - min(ahead) < _READ_ON_NS
