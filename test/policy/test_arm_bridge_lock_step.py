"""The bridge for a simulator that waits: one command for each action, which says what it answers."""

from __future__ import annotations

import numpy as np
from arm_actions import action

from robovlms_ros.policy.arm_bridge import ArmBridge, BridgeSettings, in_lock_step
from robovlms_ros.policy.arm_command import Pose

NOW = 10_000_000_000
STEP = 48_000_000


def bridge(*outputs: str) -> ArmBridge:
    return ArmBridge(in_lock_step(BridgeSettings(outputs=frozenset(outputs))))


def pose(x: float) -> Pose:
    return Pose("base_link", np.array([x, 0.0, 0.0]), np.array([0.0, 0, 0, 1]))


def test_each_action_is_one_command_with_its_stamp_and_the_gripper_every_time() -> None:
    made = bridge("twist", "gripper")
    for number in range(3):
        stamp = NOW + number * STEP
        # The bridge's clock may lag behind that of the simulator.
        commands = made.offer(action(stamp_ns=stamp, sequence=number), NOW)
        assert commands.stamp_ns == stamp
        assert commands.twist is not None
        assert commands.gripper is not None


def test_nothing_is_repeated_or_ended_by_time() -> None:
    made = bridge("twist", "pose", "gripper")
    made.offer_tool(pose(0.0), NOW, NOW)
    made.offer(action(stamp_ns=NOW), NOW)
    assert made.due_ns is None
    later = made.tick(NOW + 100 * STEP)
    assert (later.twist, later.pose, later.gripper) == (None, None, None)
    stopped = made.stop().twist  # at the end of the process the arm is stopped all the same
    assert stopped is not None
    assert not stopped.any()


def test_a_target_waits_for_the_pose_of_the_tool_at_its_image() -> None:
    made = bridge("pose", "gripper")
    made.offer_tool(pose(0.1), NOW - STEP, NOW)
    commands = made.offer(action(stamp_ns=NOW), NOW)
    assert (commands.pose, commands.gripper) == (None, None)
    commands = made.offer_tool(pose(0.5), NOW, NOW)
    assert commands.stamp_ns == NOW
    assert commands.pose is not None
    assert commands.pose.position[0] > 0.5
    assert made.executed == 1
    assert made.offer_tool(pose(0.5), NOW + STEP, NOW).pose is None
