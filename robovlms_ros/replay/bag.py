"""rosbag2 files without a ROS installation: writing what a camera saw, reading what any recorder wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from robovlms_ros.data.bag.file import Bag, BagContents, BagError, BagMessage, open_bag

__all__ = ["Bag", "BagContents", "BagError", "BagMessage", "open_bag", "write_camera_bag"]

NANOSECONDS = 1_000_000_000


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
