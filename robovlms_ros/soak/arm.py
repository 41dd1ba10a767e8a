"""What stands where an arm would: it hears all commands of arm_bridge_node, says where its tool is, and judges.

The arm is blocked: its tool never moves. So targets must not run away from it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from geometry_msgs.msg import PoseStamped, TwistStamped
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from robovlms_ros.policy.null_policy import NullProfile
from robovlms_ros.ros.messages import to_nanoseconds, to_time

# What arm_bridge_node is set to here; the limits are its defaults.
LINEAR, ANGULAR = 0.25, 1.0
LEAD = 0.1
CLOSED, OPEN = 0.0, 0.04
PARAMETERS = {
    "outputs": "[twist, pose, array, trajectory]",
    "limits.linear": LINEAR,
    "limits.angular": ANGULAR,
    "pose.lead.translation": LEAD,
    "gripper.closed": f"[{CLOSED}]",
    "gripper.open": f"[{OPEN}]",
}
PLACE = (0.4, 0.1, 0.3)
TOOL_PERIOD = 0.02
TOLERANCE = 1e-6


def twist_problem(linear: Sequence[float], angular: Sequence[float]) -> str:
    """What is wrong with a velocity in m/s and rad/s; empty where nothing is."""
    if not all(map(math.isfinite, (*linear, *angular))):
        return f"a velocity is {[*linear, *angular]}"
    if math.hypot(*linear) > LINEAR + TOLERANCE or math.hypot(*angular) > ANGULAR + TOLERANCE:
        return f"a velocity is {math.hypot(*linear):.3g} m/s and {math.hypot(*angular):.3g} rad/s"
    return ""


def pose_problem(position: Sequence[float], quaternion: Sequence[float]) -> str:
    """What is wrong with a target in metres; empty where nothing is."""
    if not all(map(math.isfinite, (*position, *quaternion))):
        return f"a target is {[*position, *quaternion]}"
    if abs(math.hypot(*quaternion) - 1) > TOLERANCE:
        return f"the rotation of a target is {list(quaternion)}"
    away = math.dist(position, PLACE)
    return f"a target is {away:.3f} m away from the tool, {LEAD} are allowed" if away > LEAD + TOLERANCE else ""


def finger_problem(positions: Sequence[float]) -> str:
    """What is wrong with finger positions; empty where nothing is."""
    if len(positions) == 1 and CLOSED - TOLERANCE <= positions[0] <= OPEN + TOLERANCE:
        return ""
    return f"the finger positions are {list(positions)}"


class Arm:
    """Judges every command and tells ``fail(text)``. ``slack``: seconds that a busy machine may add."""

    def __init__(self, node: Node, slack: float, fail: Callable[[str], None]) -> None:
        self.commands = 0
        self._fail = fail
        self._longest_ns = round((NullProfile().step_duration + 0.2 + slack) * 1e9)
        self._longest_way_ns = round((2.0 + slack) * 1e9)
        self._moved_ns: int | None = None
        node.create_subscription(TwistStamped, "twist", self._on_twist, 10)
        node.create_subscription(PoseStamped, "target_pose", self._on_pose, 10)
        node.create_subscription(Float64MultiArray, "array", self._on_array, 10)
        node.create_subscription(JointTrajectory, "trajectory", self._on_trajectory, 10)
        self._tool = node.create_publisher(PoseStamped, "tool_pose", 10)
        node.create_timer(TOOL_PERIOD, self._tell_pose)

    def watch(self) -> None:
        """Find out whether a velocity was left standing. Call it from time to time."""
        moved = self._moved_ns
        if moved is not None and time.time_ns() - moved > self._longest_ns + self._longest_way_ns:
            self._fail(f"a velocity is the last command for {(time.time_ns() - moved) / 1e6:.0f} ms")
            self._moved_ns = None

    def forget(self) -> None:
        """The bridge was killed: nobody can end its last velocity but the arm's own timeout."""
        self._moved_ns = None

    def _tell_pose(self) -> None:
        message = PoseStamped()
        message.header.frame_id = NullProfile().frame
        message.header.stamp = to_time(time.time_ns())
        place = message.pose.position
        place.x, place.y, place.z = PLACE
        self._tool.publish(message)

    def _on_twist(self, message: TwistStamped) -> None:
        linear, angular = message.twist.linear, message.twist.angular
        numbers = (linear.x, linear.y, linear.z), (angular.x, angular.y, angular.z)
        self._judge(twist_problem(*numbers), message)
        # Judged by when commands were sent: on a busy machine they may all arrive late.
        moved, sent = self._moved_ns, to_nanoseconds(message.header.stamp)
        if moved is not None and sent - moved > self._longest_ns:
            self._fail(f"a velocity stood for {(sent - moved) / 1e6:.0f} ms")
        self._moved_ns = sent if any(map(any, numbers)) else None

    def _on_pose(self, message: PoseStamped) -> None:
        place, turn = message.pose.position, message.pose.orientation
        self._judge(pose_problem((place.x, place.y, place.z), (turn.x, turn.y, turn.z, turn.w)), message)

    def _on_array(self, message: Float64MultiArray) -> None:
        self._judge(finger_problem(message.data.tolist()))

    def _on_trajectory(self, message: JointTrajectory) -> None:
        (point,) = message.points
        self._judge(finger_problem(point.positions.tolist()))

    def _judge(self, problem: str, stamped: Any = None) -> None:
        self.commands += 1
        if stamped is not None and not problem:
            age = time.time_ns() - to_nanoseconds(stamped.header.stamp)
            if not stamped.header.frame_id:
                problem = "a command has no frame"
            elif not 0 <= age <= self._longest_way_ns:
                problem = f"a command is stamped {age / 1e6:.0f} ms ago"
        if problem:
            self._fail(problem)
