"""Keeps the last executed actions of the current episode and publishes them for the model to look back on."""

from __future__ import annotations

import sys
from typing import Any

from rclpy.node import Node

from robovlms_ros.policy.history import ActionHistoryRing
from robovlms_ros.policy.parameter_tables import ACTION_HISTORY_NODE
from robovlms_ros.ros import qos
from robovlms_ros.ros.diagnostics import OK, WARN, DiagnosticsPublisher, status
from robovlms_ros.ros.help import Endpoint, help_text, wants_help
from robovlms_ros.ros.interfaces import ActionHistory, VLAAction
from robovlms_ros.ros.messages import history_message, to_nanoseconds
from robovlms_ros.ros.parameters import Parameters
from robovlms_ros.ros.run import run

ENDPOINTS = (
    Endpoint("action", "subscribes", "robovlms_ros/msg/VLAAction", "executed actions, from vla_node"),
    Endpoint("action_history", "publishes", "robovlms_ros/msg/ActionHistory", "the window, once per action"),
    Endpoint("/diagnostics", "publishes", "diagnostic_msgs/msg/DiagnosticArray", "1 Hz"),
)

EXAMPLES = (
    "ros2 run robovlms_ros action_history_node",
    "ros2 run robovlms_ros action_history_node --ros-args -r action:=/arm/command -p history.length:=8",
)


class ActionHistoryNode(Node):
    """One `ActionHistory` per `VLAAction`; an action that got lost is a row marked invalid."""

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__("action_history_node", **node_arguments)
        self._declared = Parameters(self, ACTION_HISTORY_NODE, locked=lambda: True, apply=lambda _: None)
        self._ring = ActionHistoryRing(self._declared.current["history.length"])
        self._received = self._missing = self._refused = 0
        self._publisher = self.create_publisher(ActionHistory, "action_history", qos.actions())
        self.create_subscription(VLAAction, "action", self._on_action, qos.action_listener())
        DiagnosticsPublisher(self, lambda: [self._status()])
        if self._declared.problem:
            self.get_logger().error(f"{self._declared.problem}; going on with {self._ring.length}")

    def _on_action(self, action: VLAAction) -> None:
        self._received += 1
        episode, newest = self._ring.episode, self._ring.sequence
        try:
            taken = self._ring.push(
                action.episode, action.sequence, to_nanoseconds(action.header.stamp), action.model_action
            )
        except ValueError as error:
            self._refused += 1
            self.get_logger().error(f"ignored an action: {error}", throttle_duration_sec=5.0)
            return
        if self._ring.episode == episode and newest >= 0:
            self._missing += max(0, action.sequence - newest - 1)
        if taken:
            self._publisher.publish(history_message(action, self._ring.window(), self._ring.sequence))

    def _status(self) -> Any:
        values = {
            "episode": self._ring.episode,
            "newest sequence": self._ring.sequence,
            "length": self._ring.length,
            "valid rows": int(self._ring.window().valid.sum()),
            "actions received": self._received,
            "actions missing": self._missing,
            "actions refused": self._refused,
        }
        name = self.get_fully_qualified_name()
        level, message = (WARN, f"{self._missing} actions lost") if self._missing else (OK, "keeping history")
        return status(level, f"{self.get_name()}: history", message, name, values)


def main() -> None:
    """Run the node, or print its help."""
    if wants_help(sys.argv):
        print(  # noqa: T201
            help_text("action_history_node", str(__doc__), ENDPOINTS, ACTION_HISTORY_NODE, EXAMPLES)
        )
        return
    sys.exit(run(lambda context: ActionHistoryNode(context=context)))
