"""A camera that publishes at a steady rate from a thread of its own, and can be made to misbehave."""

from __future__ import annotations

import array
import threading
import time
from collections.abc import Callable

import numpy as np
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from robovlms_ros.ros.messages import to_nanoseconds, to_time

Spoil = Callable[[Image], Image | None]


def rgb_image(width: int = 640, height: int = 480, seed: int = 0) -> Image:
    """Return an rgb8 image of noise without a stamp."""
    pixels = np.random.default_rng(seed).integers(0, 256, height * width * 3, dtype=np.uint8)
    image = Image(height=height, width=width, step=width * 3, encoding="rgb8")
    image.data = array.array("B", pixels.tobytes())
    return image


class Camera:
    """Publishes ``image`` on ``topic``, stamped with the moment right before it is handed to DDS.

    ``sent`` holds the stamps in nanoseconds; ``on_image(stamp)`` is called before each is sent. ``spoil`` changes
    messages, and drops those that it returns None for. All three may be replaced at any time.
    """

    def __init__(self, node: Node, topic: str, rate: float, image: Image | None = None) -> None:
        self._publisher = node.create_publisher(Image, topic, qos_profile_sensor_data)
        self._image = image or rgb_image()
        self._period = 1.0 / rate
        self._running = threading.Event()
        self.sent: list[int] = []
        self._thread: threading.Thread | None = None
        self.spoil: Spoil | None = None
        self.on_image: Callable[[int], None] = self.sent.append

    @property
    def listeners(self) -> int:
        """How many subscriptions there are."""
        return int(self._publisher.get_subscription_count())

    def start(self) -> None:
        """Begin to publish."""
        self._running.set()
        self._thread = threading.Thread(target=self._publish, name="camera", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Cease to publish."""
        self._running.clear()
        if self._thread:
            self._thread.join()
            self._thread = None

    def run_for(self, seconds: float) -> None:
        """Publish for ``seconds``."""
        self.start()
        time.sleep(seconds)
        self.stop()

    def _publish(self) -> None:
        due = time.monotonic()
        while self._running.is_set():
            self._image.header.stamp = to_time(time.time_ns())
            spoil = self.spoil
            image = spoil(self._image) if spoil else self._image
            if image is not None:
                self.on_image(to_nanoseconds(image.header.stamp))
                self._publisher.publish(image)
            due = max(due + self._period, time.monotonic() - self._period)
            time.sleep(max(0.0, due - time.monotonic()))
