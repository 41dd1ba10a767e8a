"""rosbag2 files without a ROS installation: writing what a camera saw, reading what any recorder wrote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader
from rosbags.highlevel.anyreader import AnyReaderError
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

NANOSECONDS = 1_000_000_000


class BagError(ValueError):
    """A bag that cannot be read, or that lacks what is asked of it."""


@dataclass(frozen=True)
class BagMessage:
    """One recorded message: ``data`` is its CDR serialisation, ``time_ns`` when it was received."""

    topic: str
    type_name: str
    time_ns: int
    data: bytes


@dataclass(frozen=True)
class BagContents:
    """What a bag holds. ``topics`` maps a topic to its message type, ``counts`` to its number of messages."""

    topics: dict[str, str]
    counts: dict[str, int]
    start_ns: int
    end_ns: int

    def require(self, topic: str) -> None:
        """Raise `BagError` unless the bag has messages on ``topic``."""
        if not self.counts.get(topic):
            recorded = ", ".join(f"{name} ({count})" for name, count in sorted(self.counts.items())) or "nothing"
            raise BagError(f"the bag has no message on {topic!r}; it holds {recorded}")


def write_camera_bag(
    path: Path,
    frames: Sequence[NDArray[np.uint8]],
    instruction: str,
    *,
    rate: float = 10.0,
    start_ns: int = 1_700_000_000 * NANOSECONDS,
    image_topic: str = "/camera/image_raw",
    instruction_topic: str = "/instruction",
    frame_id: str = "camera",
) -> None:
    """Write an mcap bag: the instruction, then one ``sensor_msgs/Image`` (rgb8) per frame at ``rate`` Hz.

    ``frames`` are ``(H, W, 3)`` uint8 RGB. The header stamp of frame i is ``start_ns + i / rate``; the
    instruction comes half a period earlier. ``path`` must not exist.
    """
    store = get_typestore(Stores.ROS2_KILTED)
    types = store.types
    period_ns = round(NANOSECONDS / rate)
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        instructions = writer.add_connection(instruction_topic, "std_msgs/msg/String", typestore=store)
        images = writer.add_connection(image_topic, "sensor_msgs/msg/Image", typestore=store)
        text = types["std_msgs/msg/String"](data=instruction)
        writer.write(instructions, start_ns - period_ns // 2, store.serialize_cdr(text, text.__msgtype__))
        for i, frame in enumerate(frames):
            time_ns = start_ns + i * period_ns
            stamp = types["builtin_interfaces/msg/Time"](sec=time_ns // NANOSECONDS, nanosec=time_ns % NANOSECONDS)
            image = types["sensor_msgs/msg/Image"](
                header=types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id),
                height=frame.shape[0],
                width=frame.shape[1],
                encoding="rgb8",
                is_bigendian=0,
                step=frame.shape[1] * 3,
                data=np.ascontiguousarray(frame).reshape(-1),
            )
            writer.write(images, time_ns, store.serialize_cdr(image, image.__msgtype__))


class Bag:
    """An open bag (mcap or sqlite3, split or not): its contents, and its messages in order of time."""

    def __init__(self, reader: AnyReader) -> None:
        self._reader = reader
        self.contents = BagContents(
            topics={c.topic: c.msgtype for c in reader.connections},
            counts={name: topic.msgcount for name, topic in reader.topics.items()},
            start_ns=reader.start_time,
            end_ns=reader.end_time,
        )

    def messages(self) -> Iterator[BagMessage]:
        """Yield every message in the order of its time of reception."""
        for connection, time_ns, data in self._reader.messages():
            yield BagMessage(connection.topic, connection.msgtype, time_ns, bytes(data))


@contextmanager
def open_bag(path: Path) -> Iterator[Bag]:
    """Open a rosbag2 folder or an .mcap file.

    Raises:
        BagError: nothing is there, it is no bag, or it is cut short.
    """
    if not path.exists():
        raise BagError(f"{path} does not exist: name a rosbag2 folder or an .mcap file")
    try:
        reader = AnyReader([path], default_typestore=get_typestore(Stores.ROS2_KILTED))
        reader.open()
    except (AnyReaderError, OSError) as error:
        raise BagError(f"{path} cannot be read as a rosbag2 bag: {error}") from error
    try:
        yield Bag(reader)
    finally:
        reader.close()
