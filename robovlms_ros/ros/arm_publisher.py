"""The topics on which an arm is commanded: one publisher per output that was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geometry_msgs.msg import PoseStamped, TwistStamped
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from robovlms_ros.policy.arm_bridge import Commands
from robovlms_ros.ros import qos
from robovlms_ros.ros.arm_messages import (
    TWIST_NUMBERS,
    array_message,
    pose_message,
    trajectory_message,
    twist_message,
)

TOPICS = {
    "twist": ("twist", TwistStamped),
    "pose": ("target_pose", PoseStamped),
    "array": ("array", Float64MultiArray),
    "trajectory": ("trajectory", JointTrajectory),
}


class CommandPublisher:
    """Publishes `Commands` in the forms that the parameters ask for. Never waits for anybody."""

    def __init__(self, node: Node, values: Mapping[str, Any]) -> None:
        self._publishers: dict[str, Publisher[Any]] = {}
        for output in dict.fromkeys(values["outputs"]):
            topic, message_type = TOPICS[output]
            self._publishers[output] = node.create_publisher(message_type, topic, qos.actions())
        self._frame: str = values["frame"]
        self._joints: tuple[str, ...] = values["gripper.joints"]
        self._whole_twist: bool = values["array.content"] == "twist"
        self.gripper_duration_ns = 0
        """Time that a trajectory gives the fingers."""

    def listeners(self) -> dict[str, int]:
        """Return how many subscriptions each topic has."""
        return {each.topic_name: each.get_subscription_count() for each in self._publishers.values()}

    def send(self, commands: Commands, fingers: tuple[float, ...] | None, now_ns: int) -> None:
        """Publish ``commands``; ``fingers`` are the positions told last, which go with every twist as numbers."""
        publishers = self._publishers
        stamp_ns = now_ns if commands.stamp_ns is None else commands.stamp_ns
        if commands.twist is not None and "twist" in publishers:
            publishers["twist"].publish(twist_message(commands.twist, self._frame or commands.frame, stamp_ns))
        if commands.pose is not None:
            publishers["pose"].publish(pose_message(commands.pose, self._frame or commands.pose.frame, stamp_ns))
        if "array" in publishers:
            self._send_numbers(commands.twist, commands.gripper, fingers)
        if commands.gripper is not None and "trajectory" in publishers:
            duration = self.gripper_duration_ns
            publishers["trajectory"].publish(
                trajectory_message(self._joints, commands.gripper, duration, stamp_ns)
            )

    def _send_numbers(
        self,
        twist: NDArray[Any] | None,
        gripper: tuple[float, ...] | None,
        fingers: tuple[float, ...] | None,
    ) -> None:
        if not self._whole_twist:
            if gripper is not None:
                self._publishers["array"].publish(array_message(gripper, self._joints))
        elif twist is not None and fingers is not None:
            names = (*TWIST_NUMBERS, *self._joints)
            self._publishers["array"].publish(array_message((*twist.tolist(), *fingers), names))
