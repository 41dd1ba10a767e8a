"""The robot's state on its way from topics to the policy, and the workspace on its way to the arm."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
from geometry_msgs.msg import PoseStamped
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState

from robovlms_ros.policy.null_policy import NullProfile
from robovlms_ros.ros.messages import to_time

Start = Callable[..., Any]
# Ages that a busy machine does not reach by itself.
POSE = {"state.source": "topics", "state.max_age": 5.0, "images.max_age": 5.0}
GRIPPER = POSE | {"state.gripper_joint": "finger", "state.gripper_open": 0.04}
BOX = [-1.0, -1.0, 0.0, 1.0, 1.0, 1.0]


class Robot:
    """Publishes the state of the robot, stamped now if not told otherwise."""

    def __init__(self, node: Any) -> None:
        self.node = node
        self.graph = node.graph
        self.poses = self.graph.publisher(PoseStamped, "tool_pose")
        self._joints: Any = None

    def pose(self, x: float = 0.0, frame: str = "base_link", stamp_ns: int | None = None, **turn: float) -> None:
        message = PoseStamped()
        message.header.frame_id = frame
        message.header.stamp = to_time(self.graph.now_ns() if stamp_ns is None else stamp_ns)
        message.pose.position.x, message.pose.position.z = x, 0.5
        for name, value in turn.items():
            setattr(message.pose.orientation, name, value)
        self.poses.publish(message)

    def joints(self, names: list[str], positions: list[float]) -> None:
        self._joints = self._joints or self.graph.publisher(JointState, "joint_states")
        message = JointState(name=names, position=positions)
        message.header.stamp = to_time(self.graph.now_ns())
        self._joints.publish(message)

    def taken(self, part: str = "pose") -> int:
        return int(self.input(part).received)

    def input(self, part: str = "pose") -> Any:
        return next(each for each in self.node.node._runtime.state_inputs if each.part == part)

    def place(self, x: float, **arguments: Any) -> None:
        """Publish a pose and wait until the node has taken it."""
        before = self.taken()
        self.pose(x, **arguments)
        self.graph.wait_for(lambda: self.taken() > before, "the pose's arrival")

    def refused(self, kind: str) -> None:
        self.graph.wait_for(lambda: self.input().refused[kind], f"{kind}: {self.input().refused}")


def with_card(policy: Any, **entries: object) -> Any:
    """The policy with more in its card."""

    class Carded(type(policy)):  # type: ignore[misc]
        @property
        def card(self) -> Mapping[str, object]:
            return {**super().card, **entries}

    policy.__class__ = Carded
    return policy


def hold(node: Any) -> str:
    held = node.node._runtime.thread.hold
    return held.value if held else "none"


# -- inputs


def test_pose_and_gripper_reach_the_policy_with_their_image(vla: Start) -> None:
    node = vla(parameters=GRIPPER)
    robot = Robot(node)
    node.say("go")
    robot.joints(["elbow", "finger"], [1.0, 0.01])
    node.graph.wait_for(lambda: robot.taken("gripper"), "the opening")
    robot.place(0.3, z=math.sin(0.25), w=math.cos(0.25))
    node.act()
    np.testing.assert_allclose(node.policy.seen[0].state, [0.3, 0, 0.5, 0, 0, 0.5, 0.25], atol=1e-12)


def test_a_state_that_is_not_needed_may_be_absent(vla: Start) -> None:
    node = vla(parameters=POSE)
    node.say("go")
    node.act()
    assert node.policy.seen[0].state is None


def test_a_model_that_takes_the_state_waits_for_it_and_then_answers_the_waiting_image(
    vla: Start, scripted: Any
) -> None:
    node = vla(with_card(scripted(), state_dim=7), parameters=GRIPPER)
    robot = Robot(node)
    node.say("go")
    image = node.see()
    node.graph.wait_for(lambda: "no state of the robot" in hold(node), "the reason")
    assert "no state of the robot" in node.node._status()[0].message
    robot.place(0.1)
    node.graph.stays(lambda: not node.actions, 0.1)
    robot.joints(["finger"], [0.04])
    node.graph.wait_for(lambda: node.actions, "the action")
    assert node.actions[0].header.stamp == image.header.stamp
    np.testing.assert_allclose(node.policy.seen[0].state, [0.1, 0, 0.5, 0, 0, 0, 1.0], atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"frame": "camera"}, "another frame"),
        ({"w": 0.0}, "no rotation"),
        ({"w": 0.7}, "no rotation"),
        ({"x": math.nan}, "not finite"),
        ({"z": math.inf}, "not finite"),
    ],
)
def test_a_pose_that_cannot_be_used_is_refused_and_counted(vla: Start, changes: dict[str, Any], kind: str) -> None:
    node = vla(parameters=POSE)
    robot = Robot(node)
    robot.pose(**changes)
    robot.refused(kind)
    assert robot.taken() == 0
    status = {each.name: each for each in node.node._status()}["vla_node: state pose"]
    assert f"1 messages refused: {kind}" in status.message


def test_a_pose_in_another_frame_is_logged_once_with_both_names(vla: Start, capfd: Any) -> None:
    node = vla(parameters=POSE | {"action_frame": "world"})
    robot = Robot(node)
    for number in range(3):
        robot.pose(number, frame="/base_link")
    node.graph.wait_for(lambda: robot.input().refused["another frame"] == 3, "the refusals")
    robot.place(0.0, frame="/world")
    robot.place(0.0, frame="")
    said = [line for line in capfd.readouterr().err.splitlines() if "refused a message" in line]
    assert len(said) == 1
    assert "'base_link'" in said[0]
    assert "'world'" in said[0]


def test_a_pose_from_the_future_is_refused_and_an_old_one_does_not_count(vla: Start, scripted: Any) -> None:
    node = vla(with_card(scripted(), state_dim=7), parameters=GRIPPER)
    robot = Robot(node)
    node.say("go")
    robot.pose(stamp_ns=node.graph.now_ns() + 2_000_000_000)
    robot.refused("future state")
    assert node.counts()["future state"] == 1
    robot.place(0.0, stamp_ns=node.graph.now_ns() - 6_000_000_000)
    robot.joints(["finger"], [0.0])
    node.graph.wait_for(lambda: robot.taken("gripper"), "the opening")
    node.see()
    node.graph.wait_for(lambda: "no state of the robot" in hold(node), "the reason")
    assert not node.policy.seen


def test_a_pose_without_stamp_is_taken_as_of_now_with_one_warning(vla: Start, capfd: Any) -> None:
    node = vla(parameters=POSE)
    robot = Robot(node)
    node.say("go")
    for _ in range(2):
        robot.place(0.2, stamp_ns=0)
    node.act()
    assert node.policy.seen[0].state[0] == pytest.approx(0.2)
    assert capfd.readouterr().err.count("carry no stamp") == 1


@pytest.mark.parametrize("positions", [[], [math.nan]])
def test_a_joint_without_a_position_is_refused_and_other_joints_are_none_of_ours(
    vla: Start, positions: list[float]
) -> None:
    node = vla(parameters=GRIPPER)
    robot = Robot(node)
    robot.joints(["wheel"], [1.0])
    robot.joints(["finger"], positions)
    node.graph.wait_for(lambda: robot.input("gripper").refused, "the refusal")
    assert robot.input("gripper").refused.total() == 1
    assert robot.taken("gripper") == 0


# -- what does not go together


@pytest.mark.parametrize(
    ("card", "profile", "parameters", "named"),
    [
        ({"state_dim": 7}, {}, {}, "set state.source to topics"),
        ({}, {"predicted_in": "tool"}, {}, "set state.source to topics"),
        ({"state_dim": 7}, {}, POSE, "set state.gripper_joint"),
        ({"state_dim": 8}, {}, GRIPPER, "a state of 8 numbers"),
        (
            {},
            {},
            GRIPPER | {"state.gripper_open": 0.0},
            "state.gripper_closed and state.gripper_open are the same",
        ),
        ({}, {}, {"limits.workspace": BOX}, "a workspace is set"),
        ({}, {}, POSE | {"limits.workspace": [0.0] * 6}, "x_min 0 not below x_max 0"),
        ({}, {}, POSE | {"limits.workspace": [0.0]}, "limits.workspace must be 6 numbers, or none, not 1"),
        ({"action_dim": 8}, {}, {}, "predicts 8 numbers per action"),
        ({}, {"dimensions": ["forward", "turn"]}, {}, "forward, turn"),
    ],
)
def test_what_does_not_go_together_is_refused_at_configure_with_the_cure(
    vla: Start,
    scripted: Any,
    card: dict[str, Any],
    profile: dict[str, Any],
    parameters: dict[str, Any],
    named: str,
) -> None:
    policy = with_card(scripted(), **card)
    policy.profile = replace(NullProfile(), **profile)
    node = vla(policy, state="unconfigured", parameters=parameters)
    assert not node.transition("configure")
    assert named in node.node.last_error
    assert node.state == "unconfigured"
    assert node.graph.helper.count_publishers("action") == 0


def test_a_model_of_another_width_that_does_not_say_so_is_refused_by_the_warm_up(
    vla: Start, monkeypatch: pytest.MonkeyPatch, scripted: Any
) -> None:
    from robovlms_ros.policy.null_policy import NullSession
    from robovlms_ros.policy.types import ActionChunk

    narrow = ActionChunk(np.zeros((1, 6), np.float32), np.zeros((1, 6)))
    monkeypatch.setattr(NullSession, "step", lambda self, observation: narrow)
    node = vla(scripted(), state="unconfigured")
    assert not node.transition("configure")
    assert "predicts 6 numbers per action" in node.node.last_error
    assert "Python API" in node.node.last_error


# -- the workspace


def forward(_: Any, chunk: Any) -> Any:
    """Two centimetres along x."""
    chunk.actions[:] = [0.02, 0, 0, 0, 0, 0, 1]
    chunk.normalized[:] = [1, 0, 0, 0, 0, 0, 1]
    return chunk


def test_an_action_ends_on_the_wall_of_the_workspace(vla: Start, scripted: Any) -> None:
    node = vla(scripted(forward), parameters=POSE | {"limits.workspace": BOX})
    robot = Robot(node)
    node.say("go")
    robot.place(0.9)
    assert (node.act().translation.x, node.actions[-1].saturated) == (0.02, 0)
    robot.place(0.995)
    action = node.act()
    assert action.translation.x == pytest.approx(0.005)
    assert action.saturated == 0b1
    assert action.model_action[0] == pytest.approx(0.25)
    robot.place(1.5)
    assert node.act().translation.x == 0.0


def test_without_a_pose_a_workspace_holds_the_arm_and_says_why(vla: Start, scripted: Any) -> None:
    node = vla(scripted(forward), parameters=POSE | {"limits.workspace": BOX, "state.max_age": 1.0})
    robot = Robot(node)
    node.say("go")
    node.see()
    node.graph.wait_for(lambda: "workspace is not held" in hold(node), "the reason")
    assert "workspace is not held" in node.node._status()[0].message
    assert not node.policy.seen
    robot.place(0.0)
    node.graph.wait_for(lambda: node.actions, "the action")
    # The pose is lost: the watchdog stops the arm, and nothing follows.
    node.graph.wait_for(lambda: len(node.actions) == 2, "the stop action")
    assert node.actions[1].translation.x == 0.0
    node.see()
    node.graph.wait_for(lambda: "workspace is not held" in hold(node), "the reason")
    node.graph.stays(lambda: len(node.actions) == 2, 0.2)


def test_the_workspace_may_change_live_and_is_refused_with_a_reason(vla: Start, scripted: Any) -> None:
    node = vla(scripted(forward), parameters=POSE)
    robot = Robot(node)
    node.say("go")
    robot.place(0.995)
    assert node.act().translation.x == 0.02

    def set_box(numbers: list[float]) -> Any:
        return node.node.set_parameters([Parameter("limits.workspace", value=numbers)])[0]

    upside_down = set_box([-1.0, -1.0, 1.0, 1.0, 1.0, 0.0])
    assert not upside_down.successful
    assert "z_min 1 not below z_max 0" in upside_down.reason
    assert set_box(BOX).successful
    robot.place(0.995)
    assert node.act().translation.x == pytest.approx(0.005)
    assert set_box([]).successful
    assert node.act().translation.x == 0.02


def test_a_workspace_that_nobody_could_hold_is_refused_live(vla: Start) -> None:
    node = vla()
    result = node.node.set_parameters([Parameter("limits.workspace", value=BOX)])[0]
    assert not result.successful
    assert "set state.source to topics" in result.reason


def test_the_workspace_of_the_robot_profile_is_held_unless_limits_are_off(vla: Start, scripted: Any) -> None:
    from robovlms_ros.policy.robot_profile import Workspace

    policy = scripted(forward)
    policy.profile = replace(NullProfile(), workspace=Workspace(min=BOX[:3], max=BOX[3:]))
    node = vla(policy, parameters=POSE)
    robot = Robot(node)
    node.say("go")
    robot.place(0.995)
    assert node.act().translation.x == pytest.approx(0.005)
    assert node.node.set_parameters([Parameter("limits.enabled", value=False)])[0].successful
    assert node.act().translation.x == 0.02
