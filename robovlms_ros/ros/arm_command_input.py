"""The commands for a simulated arm from topics, in the forms in which arm_bridge_node sends them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, TwistStamped
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from robovlms_ros.policy.arm_command import CommandError
from robovlms_ros.ros import qos
from robovlms_ros.ros.arm_messages import measured_pose
from robovlms_ros.ros.messages import to_nanoseconds
from robovlms_ros.sim.command_input import (
    LockStepInput,
    RealTimeInput,
    check_finger,
    check_frame,
    check_velocity,
)
from robovlms_ros.sim.robot import FINGER_JOINT, ArmCommand

# In real time a command may be this old when it arrives, by its stamp; no controller follows older ones.
MAX_AGE_NS = 500_000_000


class ArmCommandInput:
    """Subscribes to commands and hands them to an input of `robovlms_ros.sim.command_input`.

    ``commanded(command)`` is called in lock step when a whole command is there. ``now_ns()`` is simulated time and
    ``elapsed_ns()`` that of the wall, for velocities in real time. What is refused is counted, and logged when it
    begins.
    """

    def __init__(
        self,
        node: Node,
        commands: LockStepInput | RealTimeInput,
        commanded: Callable[[ArmCommand], None],
        now_ns: Callable[[], int],
        elapsed_ns: Callable[[], int],
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.received = 0
        self.refusal = ""
        """Why the newest command was refused; empty where it was taken."""
        self._node, self._commands = node, commands
        self._commanded, self._now_ns, self._elapsed_ns = commanded, now_ns, elapsed_ns
        for message_type, topic, take in (
            (TwistStamped, "twist", self._take_twist),
            (PoseStamped, "target_pose", self._take_pose),
            (JointTrajectory, "trajectory", self._take_trajectory),
            (Float64MultiArray, "array", self._take_array),
        ):
            node.create_subscription(message_type, topic, self._guarded(topic, take), qos.action_listener())

    def publishers(self) -> int:
        """How many publishers of motions there are."""
        names = ("twist", "target_pose")
        return sum(self._node.count_publishers(self._node.resolve_topic_name(name)) for name in names)

    def _guarded(self, topic: str, take: Callable[[Any], None]) -> Callable[[Any], None]:
        def on_message(message: Any) -> None:
            self.received += 1
            try:
                take(message)
            except CommandError as error:
                self.counts[error.kind] += 1
                # The stop at the end of an episode is expected; and a kind is told when it begins.
                if error.kind not in (self.refusal, "nothing awaited"):
                    self._node.get_logger().warning(
                        f"ignored a command on {self._node.resolve_topic_name(topic)}: {error}",
                        throttle_duration_sec=2.0,
                    )
                self.refusal = error.kind
            else:
                self.refusal = ""

        return on_message

    def _take_twist(self, message: TwistStamped) -> None:
        check_frame(message.header.frame_id)
        linear, angular = message.twist.linear, message.twist.angular
        velocity = np.array([linear.x, linear.y, linear.z, angular.x, angular.y, angular.z])
        check_velocity(velocity)
        self._move(message, ArmCommand(velocity=velocity))

    def _take_pose(self, message: PoseStamped) -> None:
        check_frame(message.header.frame_id)
        try:
            target = measured_pose(message)
        except CommandError as error:
            raise CommandError("invalid target", str(error).replace("tool pose", "target")) from error
        self._move(message, ArmCommand(target=target))

    def _take_trajectory(self, message: JointTrajectory) -> None:
        if FINGER_JOINT not in message.joint_names or not message.points:
            raise CommandError("wrong joint", f"it says nothing of joint {FINGER_JOINT!r}: {message.joint_names}")
        positions = message.points[-1].positions
        index = list(message.joint_names).index(FINGER_JOINT)
        if index >= len(positions):
            raise CommandError("wrong joint", f"it has no position of joint {FINGER_JOINT!r}")
        check_finger(positions[index])
        if isinstance(self._commands, LockStepInput):
            self._finish(self._commands.offer_finger(to_nanoseconds(message.header.stamp), positions[index]))
        else:
            self._commands.offer_finger(positions[index])

    def _take_array(self, message: Float64MultiArray) -> None:
        if isinstance(self._commands, LockStepInput):
            raise CommandError(
                "answers another image", "an array has no stamp: in lock step the finger's command is a trajectory"
            )
        if len(message.data) != 1:
            raise CommandError("wrong joint", f"it holds {len(message.data)} numbers, not one for {FINGER_JOINT}")
        check_finger(message.data[0])
        self._commands.offer_finger(message.data[0])

    def _move(self, message: TwistStamped | PoseStamped, motion: ArmCommand) -> None:
        stamp_ns = to_nanoseconds(message.header.stamp)
        if isinstance(self._commands, LockStepInput):
            self._finish(self._commands.offer_motion(stamp_ns, motion))
            return
        age_ns = self._now_ns() - stamp_ns
        if abs(age_ns) > MAX_AGE_NS:
            raise CommandError("stale command", f"its stamp is {age_ns * 1e-9:.3f} s old")
        self._commands.offer_motion(motion, self._elapsed_ns())

    def _finish(self, command: ArmCommand | None) -> None:
        if command is not None:
            self._commanded(command)
