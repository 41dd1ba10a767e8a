"""Messages of the bridge to arm controllers, from and to what it decides, stamped as they are told."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import PoseStamped, TwistStamped
from numpy.typing import NDArray
from std_msgs.msg import Float64MultiArray, MultiArrayDimension
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from robovlms_ros.policy.arm_command import ArmAction, CommandError, Pose, make_pose
from robovlms_ros.ros.interfaces import VLAAction
from robovlms_ros.ros.messages import ROTATION_FORMATS, to_duration, to_nanoseconds, to_time

FORMAT_NAMES = {number: name for name, number in ROTATION_FORMATS.items()}
TWIST_NUMBERS = ("linear.x", "linear.y", "linear.z", "angular.x", "angular.y", "angular.z")


def arm_action(message: VLAAction) -> ArmAction:
    """Return the action in ``message``. Raises CommandError where it is of a kind that nobody has defined."""
    if message.mode not in (VLAAction.MODE_DELTA, VLAAction.MODE_ABSOLUTE):
        raise CommandError("unknown mode", f"its mode is {message.mode}")
    if message.rotation_format not in FORMAT_NAMES:
        raise CommandError("unknown rotation format", f"its rotation_format is {message.rotation_format}")
    translation, rotation = message.translation, message.rotation
    return ArmAction(
        stamp_ns=to_nanoseconds(message.header.stamp),
        frame=message.header.frame_id,
        translation=np.array([translation.x, translation.y, translation.z], dtype=np.float64),
        rotation=np.array([rotation.x, rotation.y, rotation.z], dtype=np.float64),
        rotation_format=FORMAT_NAMES[message.rotation_format],
        opening=message.gripper,
        step_ns=to_nanoseconds(message.step_duration),
        sequence=message.sequence,
        episode=message.episode,
        absolute=message.mode == VLAAction.MODE_ABSOLUTE,
        step_index=message.step_index,
    )


def measured_pose(message: PoseStamped) -> Pose:
    """Return the pose in ``message``. Raises CommandError for one that is not finite or not a rotation."""
    place, turn = message.pose.position, message.pose.orientation
    return make_pose(message.header.frame_id, (place.x, place.y, place.z), (turn.x, turn.y, turn.z, turn.w))


def twist_message(velocity: NDArray[np.float64], frame: str, stamp_ns: int) -> TwistStamped:
    """Return a velocity ``(6,)``, linear before angular."""
    message = TwistStamped()
    message.header.stamp, message.header.frame_id = to_time(stamp_ns), frame
    linear, angular = message.twist.linear, message.twist.angular
    linear.x, linear.y, linear.z, angular.x, angular.y, angular.z = velocity.tolist()
    return message


def pose_message(pose: Pose, frame: str, stamp_ns: int) -> PoseStamped:
    """Return a target for the tool."""
    message = PoseStamped()
    message.header.stamp, message.header.frame_id = to_time(stamp_ns), frame
    place, turn = message.pose.position, message.pose.orientation
    place.x, place.y, place.z = pose.position.tolist()
    turn.x, turn.y, turn.z, turn.w = pose.quaternion.tolist()
    return message


def array_message(numbers: Sequence[float], names: Sequence[str]) -> Float64MultiArray:
    """Return plain numbers; their names are the label of its one dimension."""
    message = Float64MultiArray(data=[float(number) for number in numbers])
    message.layout.dim = [MultiArrayDimension(label=" ".join(names), size=len(numbers), stride=len(numbers))]
    return message


def trajectory_message(
    joints: Sequence[str], positions: Sequence[float], duration_ns: int, stamp_ns: int
) -> JointTrajectory:
    """Return a trajectory of one point, to be reached ``duration_ns`` from ``stamp_ns``."""
    message = JointTrajectory(joint_names=list(joints))
    message.header.stamp = to_time(stamp_ns)
    point = JointTrajectoryPoint(positions=[float(position) for position in positions])
    point.time_from_start = to_duration(duration_ns)
    message.points = [point]
    return message
