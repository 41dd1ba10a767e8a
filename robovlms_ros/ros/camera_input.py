"""One camera of the vla_node: its subscription, its monitor, and the log line when it goes silent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from robovlms_ros.policy.frames import Frame
from robovlms_ros.ros import qos
from robovlms_ros.ros.clock import now_ns
from robovlms_ros.ros.diagnostics import FrameMonitor
from robovlms_ros.ros.image import cv_bridge, decode_compressed, decode_image
from robovlms_ros.ros.messages import to_nanoseconds

# Camera of a policy -> topic, as it is remapped.
TOPICS = {"static": "image", "hand": "image_hand"}


class CameraInput:
    """Hands the frames of ``camera`` to ``offer(camera, frame, now_ns)``, undecoded.

    ``offer`` returns why it does not take a frame, or None.
    """

    def __init__(
        self,
        node: Node,
        camera: str,
        values: Mapping[str, Any],
        offer: Callable[[str, Frame, int], str | None],
    ) -> None:
        self.camera = camera
        self.monitor = FrameMonitor()
        self.unstamped = 0
        self.mismatched_publishers = 0
        self._node = node
        self._offer = offer
        self._lost = False
        self._topic = node.resolve_topic_name(TOPICS[camera])
        self._decode: Callable[[Any], Any]
        message_type: type[Image] | type[CompressedImage]
        if values["images.transport"] == "compressed":
            # As image_transport names it: below the topic that is remapped.
            self._topic += "/compressed"
            message_type, self._decode = CompressedImage, decode_compressed
        else:
            message_type = Image
            if cv_bridge() is None:  # asking also spares the first frame its import, a sixth of a second
                node.get_logger().info("cv_bridge cannot be imported; images are converted by NumPy, more slowly")
            self._decode = partial(decode_image, three_channel_order=values["images.three_channel_order"])
        self._subscription = node.create_subscription(
            message_type,
            self._topic,
            self._on_image,
            qos.images(values["images.reliability"]),
            event_callbacks=qos.on_mismatch(self._on_mismatch),
        )

    @property
    def topic(self) -> str:
        """The full name of the topic."""
        return self._topic

    def destroy(self) -> None:
        """Give the subscription back."""
        self._node.destroy_subscription(self._subscription)

    def watch(self, now: int, max_age: float) -> None:
        """Log once when images stop to come for ``max_age`` seconds, and once when they come again."""
        silent = self.monitor.silent_for(now)
        lost = self.monitor.received > 0 and silent > max_age
        if lost and not self._lost:
            self._node.get_logger().warning(f"camera {self.camera!r} lost: no image on {self._topic}")
        if self._lost and not lost:
            self._node.get_logger().info(f"camera {self.camera!r} recovered")
        self._lost = lost

    def _on_image(self, message: Any) -> None:
        now = now_ns(self._node)
        stamp = to_nanoseconds(message.header.stamp)
        if stamp == 0:
            stamp = now
            if not self.unstamped:
                self._node.get_logger().warning(
                    f"images on {self._topic} carry no stamp; their arrival is taken as capture time"
                )
            self.unstamped += 1
        self.monitor.add(stamp, now)
        reason = self._offer(self.camera, Frame(stamp, partial(self._decode, message)), now)
        if reason:
            self._node.get_logger().warning(
                f"dropped an image of {self._topic}: {reason}", throttle_duration_sec=5.0
            )

    def _on_mismatch(self) -> None:
        self.mismatched_publishers += 1
        self._node.get_logger().warning(
            f"a publisher on {self._topic} has a QoS that keeps its images from us; "
            "if it is best effort, set images.reliability to best_effort"
        )
