from __future__ import annotations

import numpy as np

from robovlms_ros.data.quaternions import axis_angle_to_quaternion, multiply
from robovlms_ros.policy.arm_command import Pose
from robovlms_ros.sim.environment import TabletopEnvironment
from robovlms_ros.sim.robot import STEP_NS, ArmCommand, TabletopRobot
from robovlms_ros.sim.scene import FRAME, STEP_DURATION

MOTION = np.array([0.01, -0.02, 0.005, 0.02, -0.01, 0.1])


def robot() -> TabletopRobot:
    made = TabletopRobot(TabletopEnvironment("pick", image_size=None))
    made.reset(3)
    return made


def test_a_velocity_and_the_target_that_it_leads_to_are_the_same_action() -> None:
    one = robot()
    position, rpy = one.environment.world.arm.goal
    start = axis_angle_to_quaternion(np.array([0.0, 0.0, rpy[2]]))
    target = Pose(FRAME, position + MOTION[:3], multiply(axis_angle_to_quaternion(MOTION[3:]), start))
    as_velocity = one.action(ArmCommand(velocity=MOTION / STEP_DURATION, finger=0.02))
    as_target = one.action(ArmCommand(target=target, finger=0.02))
    np.testing.assert_allclose(as_velocity, as_target, atol=1e-12)
    np.testing.assert_allclose(as_velocity[:3], MOTION[:3], atol=1e-15)
    assert as_velocity[6] == 0.5


def test_without_a_command_the_tool_stays_and_the_finger_too() -> None:
    one = robot()
    one.step(ArmCommand(velocity=np.zeros(6), finger=0.0))
    action = one.action(ArmCommand())
    assert not action.any()  # closed, as it was told before
    one.reset(4)
    assert one.action(ArmCommand())[6] == 1.0  # an episode begins open


def test_time_goes_on_step_by_step_and_never_back() -> None:
    one = robot()
    times = [one.now_ns, one.step(ArmCommand()).stamp_ns, one.wait().stamp_ns, one.reset(3).stamp_ns]
    assert np.diff(times).tolist() == [STEP_NS] * 3


def test_a_view_has_what_the_state_of_an_observation_has() -> None:
    one = robot()
    view = one.step(ArmCommand(velocity=MOTION / STEP_DURATION, finger=0.03))
    state = one.environment.world.state()
    np.testing.assert_array_equal(view.pose.position, state[:3])
    assert abs(np.linalg.norm(view.pose.quaternion) - 1) < 1e-9
    assert state[6] == min(max(view.finger / 0.04, 0), 1)
