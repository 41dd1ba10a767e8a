"""Records a live run for the Rerun viewer: listens to cameras, instruction, actions and chunks."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from robovlms_ros.policy.frames import FrameError
from robovlms_ros.replay.rerun_file import RerunFile
from robovlms_ros.ros import qos
from robovlms_ros.ros.clock import now_ns
from robovlms_ros.ros.image import decode_image
from robovlms_ros.ros.interfaces import VLAAction, VLAActionChunk
from robovlms_ros.ros.messages import to_nanoseconds

# As the launch files name them.
TOPICS = {
    "image": "image",
    "image_hand": "image_hand",
    "instruction": "instruction",
    "action": "action",
    "action_chunk": "action_chunk",
}
CAMERAS = {"image": "static", "image_hand": "hand"}


class RerunListener(Node):
    """Writes what it hears to ``file``. ``topics`` renames some of `TOPICS`; one that is empty is left out.

    Images are shown at most ``rate`` times a second. ``counts``: what was written, by topic.
    """

    def __init__(
        self, file: RerunFile, topics: Mapping[str, str], *, compressed: bool, rate: float, **node_arguments: Any
    ) -> None:
        super().__init__("rerun_recorder", **node_arguments)
        self.counts: Counter[str] = Counter()
        self._file = file
        self._lock = threading.Lock()
        self._period_ns = round(1e9 / rate)
        self._shown_ns: dict[str, int] = {}
        self._told: str | None = None
        self._closed = False
        names = {**TOPICS, **topics}
        for key, camera in CAMERAS.items():
            if names[key]:
                self._listen_to_camera(camera, names[key], compressed)
        if names["action"]:
            self._listen(VLAAction, names["action"], self._on_action, qos.action_listener())
        if names["action_chunk"]:
            self._listen(VLAActionChunk, names["action_chunk"], self._on_chunk, qos.action_listener())
        if names["instruction"]:
            for profile in (qos.latched(), qos.volatile()):
                self._listen(String, names["instruction"], self._on_instruction, profile)

    def close(self) -> None:
        """Write nothing more: the file is about to be closed."""
        with self._lock:
            self._closed = True

    def _listen(self, message_type: Any, topic: str, take: Callable[[Any], None], profile: Any) -> None:
        def on_message(message: Any) -> None:
            with self._lock:
                if not self._closed:
                    take(message)

        self.create_subscription(message_type, topic, on_message, profile)

    def _listen_to_camera(self, camera: str, topic: str, compressed: bool) -> None:
        name = f"{topic}/compressed" if compressed else topic
        message_type: Any = CompressedImage if compressed else Image

        def take(message: Any) -> None:
            stamp = to_nanoseconds(message.header.stamp) or now_ns(self)
            if 0 <= stamp - self._shown_ns.get(camera, -self._period_ns) < self._period_ns:
                return
            self._shown_ns[camera] = stamp
            try:
                if compressed:
                    self._file.jpeg(
                        camera, bytes(message.data), stamp, "png" if "png" in message.format else "jpeg"
                    )
                else:
                    self._file.image(camera, decode_image(message), stamp)
            except FrameError as error:
                self.get_logger().warning(f"left out an image of {name}: {error}", throttle_duration_sec=5.0)
                return
            self.counts[name] += 1

        self._listen(message_type, name, take, qos.images("best_effort"))

    def _on_action(self, message: Any) -> None:
        moved, turned = message.translation, message.rotation
        row = (moved.x, moved.y, moved.z, turned.x, turned.y, turned.z, message.gripper)
        now = now_ns(self)
        self._file.action(row, now, "action", message.saturated)
        self._file.seconds("latency", to_nanoseconds(message.latency) / 1e9, now)
        self._file.seconds("model", to_nanoseconds(message.inference_time) / 1e9, now)
        self.counts["action"] += 1

    def _on_chunk(self, message: Any) -> None:
        rows = [
            (s.translation.x, s.translation.y, s.translation.z, 0.0, 0.0, 0.0, s.gripper) for s in message.steps
        ]
        if rows:
            self._file.chunk(rows, now_ns(self))
            self.counts["action_chunk"] += 1

    def _on_instruction(self, message: Any) -> None:
        if message.data != self._told:
            self._told = message.data
            self._file.instruction(message.data or "(stop)", now_ns(self))
            self.counts["instruction"] += 1
