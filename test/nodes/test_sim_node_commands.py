"""What sim_node does with commands that no arm should follow, and how episodes are asked for. Without a policy."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("mujoco")
from geometry_msgs.msg import PoseStamped, TwistStamped
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from robovlms_ros.nodes.sim_node import SimNode
from robovlms_ros.ros import qos
from robovlms_ros.ros.messages import to_nanoseconds, to_time


class Arm:
    """A sim_node without goals: whoever publishes is its policy."""

    def __init__(self, graph: Any, mode: str, namespace: str = "", **parameters: Any) -> None:
        self.graph = graph
        values = {"mode": mode, "goals": False, "image_size": 16, **parameters}
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        prefix = f"{namespace}/" if namespace else ""
        self.images = graph.collect(Image, f"{prefix}camera/wrist/image_raw", 50)
        self.poses = graph.collect(PoseStamped, f"{prefix}tool_pose", 50)
        self.joints = graph.collect(JointState, f"{prefix}joint_states", 50)
        self.node = graph.add(SimNode(context=graph.context, namespace=namespace, parameter_overrides=overrides))
        self.twist = graph.publisher(TwistStamped, f"{prefix}twist", 10, subscribers=0)
        self.trajectory = graph.publisher(JointTrajectory, f"{prefix}trajectory", 10, subscribers=0)
        graph.wait_for(lambda: self.node._simulation, "the simulator", timeout=60)
        graph.wait_for(self.twist.get_subscription_count, "who hears commands")
        graph.wait_for(self.trajectory.get_subscription_count, "who hears the finger's")
        graph.wait_for(lambda: self.images and self.poses, "the first image")

    @property
    def counts(self) -> dict[str, int]:
        return dict(self.node._simulation.commands.counts)

    @property
    def steps(self) -> int:
        return int(self.node._simulation.episode.steps)

    def move(self, x: float = 0.3, stamp_ns: int | None = None, frame: str = "base_link") -> None:
        message = TwistStamped()
        message.header.frame_id = frame
        message.header.stamp = self.images[-1].header.stamp if stamp_ns is None else to_time(stamp_ns)
        message.twist.linear.x = x
        self.twist.publish(message)

    def grip(self, position: float = 0.0, joint: str = "finger_joint") -> None:
        message = JointTrajectory(joint_names=[joint], points=[JointTrajectoryPoint(positions=[position])])
        message.header.stamp = self.images[-1].header.stamp
        self.trajectory.publish(message)

    def wait_for_count(self, reason: str) -> None:
        self.graph.wait_for(lambda: self.counts.get(reason), f"{reason}: {self.counts}")


def test_in_lock_step_time_stands_still_until_the_image_is_answered(graph: Any) -> None:
    clocks = graph.collect(Clock, "/clock", 50)
    arm = Arm(graph, "lock_step", namespace="left")
    first = to_nanoseconds(arm.images[-1].header.stamp)
    arm.move(math.nan)
    arm.wait_for_count("not finite")
    arm.move(frame="camera")
    arm.wait_for_count("wrong frame")
    arm.grip(joint="elbow")
    arm.wait_for_count("wrong joint")
    arm.move(stamp_ns=first - 1)
    arm.wait_for_count("answers another image")
    arm.move()
    graph.stays(lambda: arm.steps == 0, 0.2)  # the finger's command is missing
    assert {to_nanoseconds(message.clock) for message in clocks} == {first}
    arm.grip(0.0)
    graph.wait_for(lambda: to_nanoseconds(arm.images[-1].header.stamp) > first, "the next image")
    assert arm.steps == 1
    graph.wait_for(lambda: len({to_nanoseconds(pose.header.stamp) for pose in arm.poses}) == 2, "its pose")
    moved = arm.poses[-1].pose.position.x - arm.poses[0].pose.position.x
    assert 0.005 < moved < 0.3 * 0.048 + 1e-3
    graph.wait_for(lambda: arm.joints[-1].position[0] < 0.039, "the finger's motion")


def test_a_reset_begins_the_next_seed_and_a_set_seed_that_one(graph: Any) -> None:
    instructions = graph.collect(String, "instruction", qos.latched())
    arm = Arm(graph, "lock_step", seed=4, wording="train")

    def reset() -> str:
        answer = graph.call(Trigger, "sim_node/reset", Trigger.Request())
        assert answer.success
        return str(answer.message)

    assert arm.node._simulation.episode.seed == 4
    first = arm.images[-1].data
    assert "episode 1: seed 5" in reset()
    arm.node.set_parameters([Parameter("seed", value=4), Parameter("family", value="stack")])
    said = reset()
    assert "episode 2: seed 4" in said
    graph.wait_for(lambda: len(instructions) == 3, "three instructions")
    assert said.endswith(instructions[-1].data)
    assert instructions[-1].data != instructions[0].data
    graph.wait_for(lambda: arm.images[-1].data == first, "the same scene")
    arm.node.set_parameters([Parameter("instruction", value="wave")])
    assert reset().endswith("seed 5, wave")


def test_in_real_time_stale_commands_are_ignored_and_fresh_ones_move_the_arm(graph: Any) -> None:
    arm = Arm(graph, "real_time", family="stack", command_timeout=10.0)
    numbers = graph.publisher(Float64MultiArray, "array", 10)
    arm.move(stamp_ns=3600 * 10**9)
    arm.wait_for_count("stale command")
    numbers.publish(Float64MultiArray(data=[0.01, 0.02]))
    arm.wait_for_count("wrong joint")
    graph.call(Trigger, "sim_node/reset", Trigger.Request())
    started = len(arm.poses)
    numbers.publish(Float64MultiArray(data=[0.01]))
    arm.move(0.2)
    graph.wait_for(lambda: any(pose.pose.position.x > 0.15 for pose in arm.poses[started:]), "the motion")
    graph.wait_for(lambda: arm.joints[-1].position[0] < 0.02, "the finger's motion")
    stamps = [to_nanoseconds(image.header.stamp) for image in arm.images]
    assert {later - earlier for earlier, later in pairwise(stamps)} == {48_000_000}


def test_diagnostics_tell_what_was_refused_and_what_it_waits_for(graph: Any) -> None:
    arm = Arm(graph, "lock_step")
    arm.move(math.inf)
    arm.wait_for_count("not finite")
    graph.wait_for(lambda: arm.node._simulation.problem, "the problem")
    commands, episode = arm.node._status()
    values = {pair.key: pair.value for pair in commands.values}
    assert (commands.level, values["count of not finite"], values["mode"]) == (b"\x01", "1", "lock_step")
    assert "no command has answered the image" in commands.message
    assert "running: pick up the green block" in episode.message


def test_a_machine_that_cannot_draw_is_told_so_in_one_line(start: Any, graph: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("MUJOCO_GL", "crayons")
    process = start("scripts/sim_node")
    assert process.popen.wait(60) == 1
    process._reader.join(5)
    assert len(process.lines) == 1
    assert process.lines[0].startswith("sim_node: MUJOCO_GL=crayons draws no camera images")
