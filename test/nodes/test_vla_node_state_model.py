"""Real (tiny, untrained) models inside the node that need the robot's state, or are no arm's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("torch")
from geometry_msgs.msg import PoseStamped
from reference import make_model
from sensor_msgs.msg import JointState

from robovlms_ros.policy import Observation, VLAPolicy
from robovlms_ros.policy.robot_profile import RobotProfile
from robovlms_ros.policy.robot_state import RobotStates, gripper_opening, tool_pose

Start = Callable[..., Any]
STATE = {
    "state.source": "topics",
    "state.gripper_joint": "finger",
    "state.gripper_open": 0.08,
    "state.max_age": 30.0,
    "images.max_age": 30.0,
}
TURN = (0.0, math.sin(0.4), 0.0, math.cos(0.4))


def policy(robot: dict[str, Any] | None = None, **model: Any) -> VLAPolicy:
    described = {"name": "arm", "frame": "base_link", "rotation_format": "axis_angle", "step_duration": 0.1}
    described |= {"limits": {"translation": 10.0, "rotation": 10.0}}
    profile = RobotProfile.model_validate(described | (robot or {}))
    return VLAPolicy(make_model("kosmos", use_hand_rgb=False, norm_action=False, **model), profile)


def state_of(position: Sequence[float], turn: Sequence[float], finger: float) -> Any:
    states = RobotStates(["pose", "gripper"])
    states.offer("pose", 0, tool_pose(position, turn))
    states.offer("gripper", 0, gripper_opening(finger, 0.0, 0.08))
    return states.at(0)


@pytest.mark.parametrize(
    ("robot", "model"),
    [({}, {"state_encoder": {"arm_dim": 6}}), ({"predicted_in": "tool"}, {})],
    ids=["takes the state", "moves in the tool's frame"],
)
def test_the_node_gives_what_the_policy_gives_offline_for_the_same_state(
    vla: Start, robot: dict[str, Any], model: dict[str, Any]
) -> None:
    made = policy(robot, **model)
    node = vla(made, parameters=STATE)
    node.say("go")
    poses = node.graph.publisher(PoseStamped, "tool_pose")
    joints = node.graph.publisher(JointState, "joint_states")
    pose, now = PoseStamped(), node.graph.image().header.stamp
    pose.header.stamp, pose.header.frame_id = now, "base_link"
    pose.pose.position.x, pose.pose.position.z = 0.3, 0.2
    turn = pose.pose.orientation
    turn.x, turn.y, turn.z, turn.w = TURN
    poses.publish(pose)
    fingers = JointState(name=["finger"], position=[0.02])
    fingers.header.stamp = now
    joints.publish(fingers)
    action = node.act()

    state = state_of((0.3, 0.0, 0.2), TURN, 0.02)
    pixels = np.zeros((48, 64, 3), np.uint8)
    expected = made.session().step(Observation({"static": pixels}, "go", state))
    elsewhere = state_of((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0), 0.08)
    other = made.session().step(Observation({"static": pixels}, "go", elsewhere))
    told = [getattr(vector, axis) for vector in (action.translation, action.rotation) for axis in "xyz"]
    np.testing.assert_array_equal(told, made.profile.to_si(expected.actions)[0, :6])
    assert not np.allclose(told, made.profile.to_si(other.actions)[0, :6], atol=1e-6), "the state matters"


def test_a_model_that_is_no_arms_is_refused_with_what_to_do_instead(vla: Start) -> None:
    base = policy({"rotation_format": "rpy", "dimensions": ["forward", "turn"]}, action_dim=3)
    node = vla(base, state="unconfigured")
    assert not node.transition("configure")
    assert "the actions of this model are forward, turn" in node.node.last_error
    assert "Python API" in node.node.last_error
