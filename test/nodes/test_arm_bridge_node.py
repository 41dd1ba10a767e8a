"""The arm_bridge_node in a private graph: every output, how motion ends, and its names."""

from __future__ import annotations

import math
from typing import Any

import pytest

pytest.importorskip("rclpy")
import numpy as np
from geometry_msgs.msg import TwistStamped
from rclpy.parameter import Parameter

from robovlms_ros.nodes.arm_bridge_node import ENDPOINTS, ArmBridgeNode
from robovlms_ros.ros.interfaces import VLAAction
from robovlms_ros.ros.messages import to_nanoseconds, to_time

from .arm_bridge_bench import MS, SECOND, ArmBench, stamp, velocity

ALL = ["twist", "pose", "array", "trajectory"]


def test_an_action_becomes_a_velocity_stamped_now_that_ends_with_its_step(graph: Any) -> None:
    bench = ArmBench(graph)
    before = graph.now_ns()
    action = bench.act(header__stamp=to_time(before - 300 * MS))
    graph.wait_for(lambda: bench.twists and not any(velocity(bench.twists[-1])), "the end of the motion")
    first, *_, last = bench.twists
    np.testing.assert_allclose(velocity(first), [0.2, 0, 0, 0, 0, 1.0], atol=1e-12)
    assert before <= stamp(first) <= graph.now_ns()
    assert first.header.frame_id == "base_link"
    assert stamp(action) == before - 300 * MS
    # Not before its time; how much later is up to the machine.
    assert stamp(last) - stamp(first) >= 99 * MS
    count = len(bench.twists)
    graph.stays(lambda: len(bench.twists) == count)


def test_all_outputs_at_once(graph: Any) -> None:
    bench = ArmBench(graph, {"outputs": ALL, "pose.rate": 0.0, "gripper.joints": ["left", "right"]})
    bench.see_tool(0.5)
    before = graph.now_ns()
    bench.act()
    graph.wait_for(lambda: bench.poses and bench.arrays and bench.trajectories and bench.twists, "all outputs")
    target = bench.poses[0]
    assert (round(target.pose.position.x, 9), target.header.frame_id) == (0.52, "base_link")
    turn = target.pose.orientation
    np.testing.assert_allclose(
        [turn.x, turn.y, turn.z, turn.w], [0, 0, math.sin(0.05), math.cos(0.05)], atol=1e-12
    )
    assert before <= stamp(target) <= graph.now_ns()
    assert list(bench.arrays[0].data) == [0.04, 0.04]
    assert [(dim.label, dim.size) for dim in bench.arrays[0].layout.dim] == [("left right", 2)]
    trajectory = bench.trajectories[0]
    assert (trajectory.joint_names, list(trajectory.points[0].positions)) == (["left", "right"], [0.04, 0.04])
    assert to_nanoseconds(trajectory.points[0].time_from_start) == SECOND // 2
    assert before <= stamp(trajectory) <= graph.now_ns()


def test_only_the_outputs_asked_for_have_topics(graph: Any) -> None:
    bench = ArmBench(graph, {"outputs": ["trajectory"]})
    bench.act()
    graph.wait_for(lambda: bench.trajectories, "a trajectory")
    assert not bench.twists
    assert graph.helper.count_publishers("twist") == graph.helper.count_publishers("array") == 0


def test_an_array_may_hold_the_twist_and_the_fingers(graph: Any) -> None:
    bench = ArmBench(graph, {"outputs": ["array"], "array.content": "twist", "gripper.open": [0.8]})
    bench.act()
    graph.wait_for(lambda: bench.arrays and not any(list(bench.arrays[-1].data)[:6]), "the end of the motion")
    np.testing.assert_allclose(bench.arrays[0].data, [0.2, 0, 0, 0, 0, 1, 0.8], atol=1e-12)
    np.testing.assert_allclose(bench.arrays[-1].data, [0, 0, 0, 0, 0, 0, 0.8])
    label = "linear.x linear.y linear.z angular.x angular.y angular.z finger_joint"
    assert bench.arrays[0].layout.dim[0].label == label
    assert not bench.twists


def test_unitless_twists_and_another_frame(graph: Any) -> None:
    bench = ArmBench(graph, {"twist.units": "unitless", "twist.linear_scale": 0.1, "frame": "panda_link0"})
    bench.act()
    first = bench.wait_for_twist(1)
    np.testing.assert_allclose(velocity(first), [1, 0, 0, 0, 0, 1], atol=1e-12)
    assert first.header.frame_id == "panda_link0"
    assert bench.counts == {"twist beyond its scale": 1}


def test_speed_limits_hold_and_may_change_live(graph: Any) -> None:
    bench = ArmBench(graph, {"limits.linear": 0.1, "limits.angular": 0.5})
    bench.act()
    np.testing.assert_allclose(velocity(bench.wait_for_twist(1)), [0.1, 0, 0, 0, 0, 0.5], atol=1e-12)
    assert bench.node.set_parameters([Parameter("limits.linear", value=0.05)])[0].successful
    known = len(bench.twists)
    bench.act()
    graph.wait_for(
        lambda: any(velocity(each)[0] == pytest.approx(0.05) for each in bench.twists[known:]), "0.05 m/s"
    )


def test_a_gripper_is_told_only_what_changes(graph: Any) -> None:
    bench = ArmBench(graph, {"outputs": ["array", "trajectory"], "gripper.repeat": 0.0})
    for gripper in (1.0, 1.0, 0.0, 0.0, 0.5):
        bench.act(gripper=gripper)
    graph.wait_for(lambda: len(bench.arrays) >= 3, "three commands")
    assert [list(each.data) for each in bench.arrays] == [[0.04], [0.0], [0.02]]
    assert len(bench.trajectories) == 3


def test_a_gripper_command_is_repeated_while_actions_come(graph: Any) -> None:
    bench = ArmBench(graph, {"outputs": ["array"], "gripper.repeat": 0.05})
    graph.wait_for(lambda: (bench.act(), len(bench.arrays) >= 3)[1], "repetitions")
    count = len(bench.arrays)
    graph.stays(lambda: len(bench.arrays) == count, 0.2)


def test_zero_motion_passes_at_once_as_a_zero_velocity(graph: Any) -> None:
    bench = ArmBench(graph)
    bench.act(step_duration__sec=60)
    bench.wait_for_twist(1)
    bench.act(translation__x=0.0, rotation__z=0.0)
    graph.wait_for(lambda: not any(velocity(bench.twists[-1])), "the stop")
    assert bench.node._status().message == "stopped by an action"


def test_an_absolute_action_is_followed_where_the_tool_is_known(graph: Any) -> None:
    bench = ArmBench(graph, {"outputs": ["twist", "pose"], "pose.rate": 0.0})
    bench.see_tool(0.5)
    bench.act(mode=VLAAction.MODE_ABSOLUTE, translation__x=0.51, rotation__z=0.0)
    graph.wait_for(lambda: bench.poses, "a target")
    assert bench.poses[0].pose.position.x == pytest.approx(0.51)
    np.testing.assert_allclose(velocity(bench.wait_for_twist(1)), [0.1, 0, 0, 0, 0, 0], atol=1e-9)


def test_the_arm_is_stopped_once_when_no_action_follows(graph: Any) -> None:
    bench = ArmBench(graph, {"timeout": 0.2, "twist.repeat_rate": 0.0})
    bench.act(step_duration__sec=60)
    stop = bench.wait_for_twist(2)
    assert velocity(stop) == [0.0] * 6
    assert bench.counts == {"watchdog stop": 1}
    assert "the arm is stopped" in bench.node._status().message
    graph.stays(lambda: len(bench.twists) == 2)
    bench.act()
    assert any(velocity(bench.wait_for_twist(3)))


def test_a_halted_node_stops_the_arm_and_sends_nothing_more(graph: Any) -> None:
    bench = ArmBench(graph, {"twist.repeat_rate": 0.0})
    bench.act(step_duration__sec=60)
    bench.node.halt()
    assert velocity(bench.wait_for_twist(2)) == [0.0] * 6
    bench.actions.publish(bench.message())
    graph.stays(lambda: len(bench.twists) == 2, 0.2)


def test_topics_follow_a_namespace(graph: Any) -> None:
    bench = ArmBench(graph, namespace="left")
    bench.act()
    bench.wait_for_twist(1)
    assert graph.helper.count_publishers("/left/twist") == 1


def test_topics_can_be_remapped(graph: Any) -> None:
    remap = ["--ros-args", "-r", "twist:=/servo_node/delta_twist_cmds", "-r", "action:=/arm/command"]
    node = graph.add(ArmBridgeNode(context=graph.context, cli_args=remap))
    received = graph.collect(TwistStamped, "/servo_node/delta_twist_cmds", 100)
    actions = graph.publisher(VLAAction, "/arm/command")
    graph.wait_for(lambda: all(node._commands.listeners().values()), "the listener")
    message = VLAAction()
    message.header.frame_id, message.header.stamp = "base_link", to_time(graph.now_ns())
    message.translation.x, message.step_duration.nanosec = 0.01, 100 * MS
    actions.publish(message)
    graph.wait_for(lambda: received, "a velocity")


def test_the_help_names_every_topic_that_the_node_has(graph: Any) -> None:
    node = ArmBench(graph, {"outputs": ALL}).node
    name, namespace = node.get_name(), node.get_namespace()
    found = node.get_subscriber_names_and_types_by_node(name, namespace)
    found += node.get_publisher_names_and_types_by_node(name, namespace)
    standard = {"/parameter_events", "/rosout", "/clock"}
    described = {node.resolve_topic_name(each.name): each.type for each in ENDPOINTS}
    assert {topic: types[0] for topic, types in found if topic not in standard} == described


def test_an_image_becomes_a_velocity_of_the_arm(graph: Any, vla: Any) -> None:
    bench = ArmBench(graph, {"limits.linear": 0.0, "limits.angular": 0.0})
    robot = vla()
    robot.say("go")
    action = robot.act()
    first = bench.wait_for_twist(1)
    motion = [action.translation.x, action.translation.y, action.translation.z]
    np.testing.assert_allclose(velocity(first)[:3], np.array(motion) * 30, rtol=1e-6)
    assert first.header.frame_id == action.header.frame_id == "base_link"
    assert stamp(first) > stamp(action)
    assert robot.transition("deactivate")
    graph.wait_for(lambda: not any(velocity(bench.twists[-1])), "the stop")
