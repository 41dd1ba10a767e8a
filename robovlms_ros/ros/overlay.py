"""`~/overlay`: what the model saw and answered, as a picture, for those who look at it and for nobody else."""

from __future__ import annotations

import array
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import Image

from robovlms_ros.policy.decision import ACTING, Action, LimitedChunk
from robovlms_ros.policy.overlay import OverlayView, draw_overlay
from robovlms_ros.policy.safety import Limits
from robovlms_ros.ros import qos
from robovlms_ros.ros.messages import to_time

STOPPED = "stopped"
Look = Callable[[int], NDArray[np.uint8] | None]


@dataclass(frozen=True)
class _Picture:
    """What is drawn next: the image to draw over is asked for only then."""

    action: Action
    rows: LimitedChunk | None
    stamp_ns: int
    latency_ns: int
    limits: Limits
    state: str


class OverlayPublisher:
    """Draws in a thread of its own, so that no action waits for a picture, at most ``rate`` times a second.

    ``look(stamp_ns)`` returns the RGB image with this stamp from which the model inferred, or None where it is
    gone; ``frame`` is that of the actions. ``acted`` and ``show`` take microseconds, and are called with whatever
    lock guards the actions; drawing happens without it.
    """

    def __init__(self, node: Node, rate: float, frame: str, look: Look) -> None:
        self._node = node
        self._period = 1 / rate if rate > 0 else 0.0
        self._frame = frame
        self._look = look
        self._condition = threading.Condition()
        self._rows: LimitedChunk | None = None
        self._picture: _Picture | None = None
        self._dirty = self._running = False
        self._thread: threading.Thread | None = None
        self._publisher = node.create_publisher(Image, "~/overlay", qos.actions())

    def start(self) -> None:
        """Begin to draw."""
        if not self._period:
            return
        self._running = True
        self._picture, self._dirty = None, False
        self._thread = threading.Thread(target=self._run, name="overlay", daemon=True)
        self._thread.start()

    def stop(self, state: str, timeout: float) -> None:
        """Draw ``state`` over the last picture and end, within ``timeout`` seconds."""
        self.show(state)
        with self._condition:
            self._running = False
            self._condition.notify()
        if self._thread is not None:
            self._thread.join(timeout)

    def destroy(self) -> None:
        """Give the publisher back."""
        self._node.destroy_publisher(self._publisher)

    # -- what there is to draw

    def acted(self, action: Action, now_ns: int, limits: Limits) -> None:
        """Note an action that was published ``now_ns``, under ``limits``; a stop keeps the image before it."""
        if action.chunk is not None:
            self._rows = action.chunk
        with self._condition:
            before = self._picture
            if action.stop and before is None:
                return
            if action.stop and before is not None:
                self._picture = replace(before, action=action, rows=None, state=STOPPED)
            else:
                latency = now_ns - action.stamp_ns
                self._picture = _Picture(action, self._rows, action.stamp_ns, latency, limits, ACTING)
            self._changed()

    def show(self, state: str) -> None:
        """Note that ``state`` is the state now: a picture must not go on to say that the arm is acting."""
        with self._condition:
            if self._picture is not None and self._picture.state != state:
                self._picture = replace(self._picture, state=state)
                self._changed()

    def _changed(self) -> None:
        if self._running and self._publisher.get_subscription_count():
            self._dirty = True
            self._condition.notify()

    # -- the thread

    def _run(self) -> None:
        due = 0.0
        while True:
            with self._condition:
                while self._running and not (self._dirty and time.monotonic() >= due):
                    self._condition.wait(max(0.0, due - time.monotonic()) if self._dirty else None)
                if not self._dirty:
                    return
                picture, self._dirty = self._picture, False
            due = time.monotonic() + self._period
            assert picture is not None
            try:
                self._draw(picture)
            except Exception as error:  # a picture is worth no arm that stops
                self._node.get_logger().error(f"no overlay: {error!r}", throttle_duration_sec=60.0)

    def _draw(self, picture: _Picture) -> None:
        image = self._look(picture.stamp_ns)
        if image is None:
            return
        action, rows = picture.action, picture.rows
        after = slice(action.step_index + 1, None)
        view = OverlayView(
            instruction=action.instruction,
            state=picture.state,
            episode=action.episode,
            step=action.sequence,
            actions=action.action[None] if rows is None else np.vstack([action.action, rows.actions[after]]),
            saturated=np.array([action.saturated, *(() if rows is None else rows.saturated[after])], np.uint32),
            latency=picture.latency_ns * 1e-9,
            frame=self._frame,
            limits=picture.limits,
        )
        self._publisher.publish(image_message(draw_overlay(image, view), picture.stamp_ns))


def image_message(pixels: NDArray[np.uint8], stamp_ns: int) -> Image:
    """Return ``(H, W, 3)`` RGB pixels as a message. cv_bridge of the PyPI wheels cannot with NumPy 2."""
    height, width = pixels.shape[:2]
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    message.header.stamp = to_time(stamp_ns)
    message.data = array.array("B", pixels.tobytes())
    return message
