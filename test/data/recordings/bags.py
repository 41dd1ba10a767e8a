"""Writes rosbag2 recordings for tests, message by message, with rosbags."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from robovlms_ros.data.bag.vla_action import DEFINITION, TYPE_NAME
from robovlms_ros.data.images import encode

STORE = get_typestore(Stores.ROS2_KILTED)
STORE.register(get_types_from_msg(DEFINITION, TYPE_NAME))
T = STORE.types
START_NS = 1_700_000_000_000_000_007
STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}


class BagWriter:
    """``put(topic, message, time)``: times are seconds after the start."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._connections: dict[str, Any] = {}

    def put(self, topic: str, message: Any, seconds: float) -> None:
        kind = message.__msgtype__
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(topic, kind, typestore=STORE)
        data = STORE.serialize_cdr(message, kind)
        self._writer.write(self._connections[topic], ns(seconds), bytes(data))


@contextmanager
def bag(path: Path, storage: str = "mcap") -> Iterator[BagWriter]:
    with Writer(path, version=9, storage_plugin=STORAGES[storage]) as writer:
        yield BagWriter(writer)


def ns(seconds: float) -> int:
    return START_NS + round(seconds * 1e9)


def header(seconds: float, frame: str = "base") -> Any:
    stamp = ns(seconds)
    time = T["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)
    return T["std_msgs/msg/Header"](stamp=time, frame_id=frame)


def vector(values: Any) -> Any:
    x, y, z = (float(value) for value in values)
    return T["geometry_msgs/msg/Vector3"](x=x, y=y, z=z)


def duration(seconds: float) -> Any:
    return T["builtin_interfaces/msg/Duration"](sec=int(seconds), nanosec=round(seconds % 1 * 1e9))


def action(row: Any, seconds: float, **changes: Any) -> Any:
    """A VLAAction in metres, radians and gripper opening, ``row`` (7,)."""
    row = np.asarray(row, np.float64)
    content: dict[str, Any] = {
        "header": header(seconds),
        "mode": 0,
        "translation": vector(row[:3]),
        "rotation": vector(row[3:6]),
        "rotation_format": 1,
        "gripper": float(row[6]),
        "gripper_closed": bool(row[6] < 0.5),
        "step_duration": duration(0.1),
        "step_index": 0,
        "chunk_size": 1,
        "sequence": 0,
        "episode": 0,
        "saturated": 0,
        "confidence": -1.0,
        "model_action": np.zeros(7, np.float32),
        "inference_time": duration(0.02),
        "latency": duration(0.03),
        "model_id": "test",
        "instruction": "pick up the block",
    }
    return T[TYPE_NAME](**{**content, **changes})


def image(pixels: np.ndarray, seconds: float, encoding: str = "rgb8", padding: int = 0) -> Any:
    stored = pixels[..., ::-1] if encoding == "bgr8" else pixels
    rows = np.ascontiguousarray(stored).reshape(len(pixels), -1)
    rows = np.hstack([rows, np.full((len(rows), padding), 9, np.uint8)])
    return T["sensor_msgs/msg/Image"](
        header=header(seconds, "camera"),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=rows.shape[1],
        data=rows.reshape(-1),
    )


def compressed(pixels: np.ndarray, seconds: float, kind: str = "png", cut: int | None = None) -> Any:
    file = encode(pixels, kind)  # type: ignore[arg-type]
    data = np.frombuffer(file[:cut], dtype=np.uint8)
    return T["sensor_msgs/msg/CompressedImage"](header=header(seconds, "camera"), format=kind, data=data)


def text(words: str) -> Any:
    return T["std_msgs/msg/String"](data=words)


def twist(linear: Any, angular: Any, seconds: float, frame: str = "base") -> Any:
    velocity = T["geometry_msgs/msg/Twist"](linear=vector(linear), angular=vector(angular))
    return T["geometry_msgs/msg/TwistStamped"](header=header(seconds, frame), twist=velocity)


def pose(position: Any, quaternion: Any, seconds: float, frame: str = "base") -> Any:
    x, y, z = (float(value) for value in position)
    qx, qy, qz, qw = (float(value) for value in quaternion)
    where = T["geometry_msgs/msg/Pose"](
        position=T["geometry_msgs/msg/Point"](x=x, y=y, z=z),
        orientation=T["geometry_msgs/msg/Quaternion"](x=qx, y=qy, z=qz, w=qw),
    )
    return T["geometry_msgs/msg/PoseStamped"](header=header(seconds, frame), pose=where)


def joints(positions: dict[str, float], seconds: float) -> Any:
    values = np.array(list(positions.values()), np.float64)
    none = np.zeros(0)
    return T["sensor_msgs/msg/JointState"](
        header=header(seconds), name=list(positions), position=values, velocity=none, effort=none
    )


def numbers(*values: float) -> Any:
    layout = T["std_msgs/msg/MultiArrayLayout"](dim=[], data_offset=0)
    return T["std_msgs/msg/Float64MultiArray"](layout=layout, data=np.array(values, np.float64))


def picture(number: int, side: int = 8) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (side, side + 2, 3), dtype=np.uint8)


def rows(steps: int, seed: int = 0) -> np.ndarray:
    made = np.random.default_rng(seed).uniform(-0.02, 0.02, (steps, 7))
    made[:, 6] = np.arange(steps) % 2
    return made
