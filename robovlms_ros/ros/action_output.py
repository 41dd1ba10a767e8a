"""Everything that leaves the vla_node for an arm and for those who watch it, and the account of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode

from robovlms_ros.policy.decision import Action, ControlSettings
from robovlms_ros.ros import qos
from robovlms_ros.ros.clock import now_ns
from robovlms_ros.ros.interfaces import VLAAction, VLAActionChunk
from robovlms_ros.ros.messages import ActionSpace, action_message, chunk_message
from robovlms_ros.ros.overlay import OverlayPublisher
from robovlms_ros.ros.timing import Timing

ACKNOWLEDGED_WITHIN = 0.2
OVERLAY_TIMEOUT = 0.2


class ActionOutput:
    """Publishes actions, predicted chunks and the overlay. Guarded by whoever guards the controller.

    ``overlay_rate`` and ``look`` are those of `OverlayPublisher`.
    """

    def __init__(
        self,
        node: LifecycleNode,
        space: ActionSpace,
        overlay_rate: float,
        look: Callable[[int], NDArray[np.uint8] | None],
    ) -> None:
        self.published = 0
        self.last_ns = 0
        """When the newest action that moves was published; 0 before the first."""
        self.timing = Timing()
        self.mismatched_subscribers = 0
        """Subscribers of the actions whose QoS keeps them from hearing any."""
        self._node = node
        self._space = space
        self._action: Any = node.create_lifecycle_publisher(
            VLAAction, "action", qos.actions(), event_callbacks=qos.on_mismatched_subscriber(self._on_mismatch)
        )
        self._chunk: Any = node.create_lifecycle_publisher(VLAActionChunk, "action_chunk", qos.actions())
        self.overlay = OverlayPublisher(node, overlay_rate, space.frame, look)

    def start(self) -> None:
        """Count and judge anew; draw for those who look."""
        self.timing.clear()
        self.overlay.start()

    def stop(self) -> None:
        """End what runs beside the actions, in bounded time."""
        self.overlay.stop("the node is not active", OVERLAY_TIMEOUT)

    def destroy(self) -> None:
        """Give all publishers back."""
        # The stop action must not die with its writer.
        self._action.wait_for_all_acked(Duration(seconds=ACKNOWLEDGED_WITHIN))
        self._node.destroy_lifecycle_publisher(self._action)
        self._node.destroy_lifecycle_publisher(self._chunk)
        self.overlay.destroy()

    def publish(self, action: Action, settings: ControlSettings) -> int:
        """Publish ``action``, and what belongs to it for those who listen; return when that was."""
        started = time.perf_counter()
        now = now_ns(self._node)
        self._action.publish(action_message(action, self._space, now))
        took = time.perf_counter() - started
        self.published += 1
        if not action.stop:
            self.last_ns = now
            self.timing.published(action, now, settings.chunk.overlap, took)
            if action.chunk is not None and self._chunk.get_subscription_count():
                self._chunk.publish(chunk_message(action, self._space, now))
        self.overlay.acted(action, now, settings.limits)
        return now

    def _on_mismatch(self) -> None:
        self.mismatched_subscribers += 1
        self._node.get_logger().warning(
            f"a subscriber of {self._action.topic_name} has a QoS that keeps it from hearing any action: they are "
            "reliable and volatile, nothing is latched"
        )
