"""From messages about the robot's state to what is kept of them. Of any decoder: rclpy's messages or a bag's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from robovlms_ros.policy.robot_state import RobotStates, StateError, gripper_opening, tool_pose


def make_states(values: Mapping[str, Any]) -> RobotStates:
    """Return the buffers for what the parameters under ``state.`` ask for.

    Raises ValueError where the two positions of a gripper are the same.
    """
    if values["state.source"] == "none":
        return RobotStates()
    if not values["state.gripper_joint"]:
        return RobotStates(["pose"], round(values["state.max_age"] * 1e9))
    if values["state.gripper_closed"] == values["state.gripper_open"]:
        raise ValueError(
            "state.gripper_closed and state.gripper_open are the same; set them to the positions of joint "
            f"{values['state.gripper_joint']!r} where the gripper is closed and where it is open"
        )
    return RobotStates(["pose", "gripper"], round(values["state.max_age"] * 1e9))


def read_pose(message: Any, frame: str) -> NDArray[Any]:
    """Return the pose of `robovlms_ros.policy.robot_state`. Raises StateError, also for another frame."""
    given = message.header.frame_id.removeprefix("/")
    if given and given != frame.removeprefix("/"):
        raise StateError(
            "another frame",
            f"its pose is in the frame {given!r}, the actions are in {frame!r}; publish the tool's pose in that "
            "frame, or set action_frame",
        )
    position, turn = message.pose.position, message.pose.orientation
    return tool_pose((position.x, position.y, position.z), (turn.x, turn.y, turn.z, turn.w))


def read_gripper(message: Any, joint: str, closed: float, opened: float) -> NDArray[Any] | None:
    """Return the gripper's opening, or None where the message is about other joints. Raises StateError."""
    if joint not in message.name:
        return None
    index = message.name.index(joint)
    if index >= len(message.position):
        raise StateError("no position", f"it names joint {joint!r} but gives no position of it")
    return gripper_opening(message.position[index], closed, opened)
