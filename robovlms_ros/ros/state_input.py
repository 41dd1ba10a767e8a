"""The robot's own state from topics: the pose of its tool, and how far its gripper is open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import JointState

from robovlms_ros.policy.robot_state import StateError
from robovlms_ros.policy.state_messages import read_gripper, read_pose
from robovlms_ros.ros import qos
from robovlms_ros.ros.clock import now_ns
from robovlms_ros.ros.messages import to_nanoseconds

# Takes (part, stamp_ns, values, now_ns); returns why it does not, or None.
Offer = Callable[[str, int, NDArray[Any], int], str | None]


class StateInput:
    """One part of the state: its subscription, and what was received and refused.

    ``read`` returns the numbers of a message, or None where it holds none of ours; it raises StateError.
    """

    def __init__(
        self,
        node: Node,
        part: str,
        topic: str,
        message_type: type[PoseStamped] | type[JointState],
        read: Callable[[Any], NDArray[Any] | None],
        offer: Offer,
    ) -> None:
        self.part = part
        self.topic = node.resolve_topic_name(topic)
        self.received = 0
        self.received_ns = 0
        """When the last sample that could be used arrived; 0 before."""
        self.unstamped = 0
        self.refused: Counter[str] = Counter()
        self._node = node
        self._read = read
        self._offer = offer
        self._subscription = node.create_subscription(message_type, self.topic, self._on_message, qos.states())

    def destroy(self) -> None:
        """Give the subscription back."""
        self._node.destroy_subscription(self._subscription)

    def silent_for(self, now: int) -> float:
        """Return the seconds since the last usable sample, or infinity."""
        return max(0, now - self.received_ns) * 1e-9 if self.received_ns else float("inf")

    def _on_message(self, message: Any) -> None:
        now = now_ns(self._node)
        try:
            values = self._read(message)
        except StateError as error:
            self._refuse(error.kind, str(error))
            return
        if values is None:
            return
        stamp = to_nanoseconds(message.header.stamp)
        if stamp == 0:
            stamp = now
            if not self.unstamped:
                self._node.get_logger().warning(
                    f"messages on {self.topic} carry no stamp; their arrival is taken as the time of the state"
                )
            self.unstamped += 1
        reason = self._offer(self.part, stamp, values, now)
        if reason:
            self._refuse(reason, reason)
            return
        self.received += 1
        self.received_ns = now

    def _refuse(self, kind: str, reason: str) -> None:
        # A reason of a kind is logged once: a driver that does it wrong does so at 1000 Hz.
        if not self.refused[kind]:
            self._node.get_logger().error(f"refused a message of {self.topic}: {reason}")
        self.refused[kind] += 1


def state_inputs(node: Node, values: Mapping[str, Any], frame: str, offer: Offer) -> list[StateInput]:
    """Create the subscriptions for the same parts as `make_states`. ``frame`` is the frame of the actions."""
    if values["state.source"] == "none":
        return []
    inputs = [StateInput(node, "pose", "tool_pose", PoseStamped, lambda message: read_pose(message, frame), offer)]
    joint = values["state.gripper_joint"]
    if joint:
        closed, opened = values["state.gripper_closed"], values["state.gripper_open"]

        def read(message: JointState) -> NDArray[Any] | None:
            return read_gripper(message, joint, closed, opened)

        inputs.append(StateInput(node, "gripper", "joint_states", JointState, read, offer))
    return inputs
