"""What is seen of the nodes from outside: actions, which the watcher judges, histories, diagnostics."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node

from robovlms_ros.ros import qos
from robovlms_ros.ros.interfaces import ActionHistory, VLAAction
from robovlms_ros.ros.messages import to_nanoseconds
from robovlms_ros.soak.watcher import SeenAction, Watcher

# Actions of this model come from the soak itself.
HOSTILE_MODEL = "hostile"


class Witness:
    """Shows ``watcher`` every action. It is told things by three threads: so use ``telling``."""

    def __init__(self, node: Node, watcher: Watcher) -> None:
        self._watcher = watcher
        self._lock = threading.Lock()
        self.newest: SeenAction | None = None
        self.newest_history: Any = None
        self._diagnostics: dict[str, DiagnosticStatus] = {}
        self._diagnosed = 0.0
        node.create_subscription(VLAAction, "action", self._on_action, qos.action_listener())
        node.create_subscription(ActionHistory, "action_history", self._on_history, qos.action_listener())
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    @contextmanager
    def telling(self) -> Iterator[Watcher]:
        """Yield the watcher while nobody else tells it anything."""
        with self._lock:
            yield self._watcher

    def control(self) -> tuple[bytes, str]:
        """Return level and message of the vla_node's last diagnostics."""
        status = self._diagnostics.get("vla_node: control")
        return (bytes(status.level), str(status.message)) if status else (DiagnosticStatus.STALE, "")

    def diagnosed_within(self, seconds: float) -> bool:
        """Whether diagnostics came within the last ``seconds``."""
        return time.monotonic() - self._diagnosed < seconds

    def acted_since(self, since_ns: int) -> bool:
        """Whether there is an action for an image of after ``since_ns``, and the history with such an action."""
        action, history = self.newest, self.newest_history
        if action is None or action.still or action.stamp_ns < since_ns or history is None:
            return False
        return to_nanoseconds(history.header.stamp) >= since_ns

    def _on_action(self, message: VLAAction) -> None:
        if message.model_id == HOSTILE_MODEL:
            return
        seen = seen_action(message)
        with self._lock:
            self._watcher.action(seen)
        self.newest = seen

    def _on_history(self, message: ActionHistory) -> None:
        self.newest_history = message

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self._diagnosed = time.monotonic()
        for status in message.status:
            self._diagnostics[status.name] = status


def seen_action(message: VLAAction) -> SeenAction:
    """Return what the watcher needs of a message."""
    translation, rotation = message.translation, message.rotation
    return SeenAction(
        stamp_ns=to_nanoseconds(message.header.stamp),
        latency_ns=to_nanoseconds(message.latency),
        translation=(translation.x, translation.y, translation.z),
        rotation=(rotation.x, rotation.y, rotation.z),
        gripper=message.gripper,
        model_action=message.model_action.tolist(),
        sequence=message.sequence,
        episode=message.episode,
        instruction=message.instruction,
        saturated=message.saturated,
    )
