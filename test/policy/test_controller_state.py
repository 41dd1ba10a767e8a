"""The robot's state in a control step: matched to the image, awaited where it is needed, and the workspace."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from robovlms_ros.policy.chunk_settings import ChunkSettings
from robovlms_ros.policy.controller import Controller
from robovlms_ros.policy.decision import Action, ControlSettings, Hold, Request
from robovlms_ros.policy.frames import Frame
from robovlms_ros.policy.null_policy import NullProfile
from robovlms_ros.policy.robot_profile import Limits as ProfileLimits
from robovlms_ros.policy.robot_profile import RobotProfile
from robovlms_ros.policy.robot_state import RobotStates, tool_pose
from robovlms_ros.policy.safety import Limits
from robovlms_ros.policy.types import ActionChunk, Observation
from robovlms_ros.policy.workspace import Workspace

MS = 1_000_000
IDENTITY = tool_pose((0, 0, 0), (0, 0, 0, 1))
START = 1_000_000 * MS
MAX_AGE = 50 * MS
BOX = Limits(workspace=Workspace((-1, -1, 0), (1, 1, 1)))


class Straight:
    """A policy that always answers with the same actions of its profile; what it saw is kept in ``seen``."""

    def __init__(self, actions: Any, profile: Any = None) -> None:
        self.actions = np.array(actions, np.float64)
        self.profile = profile or NullProfile()
        self.seen: list[Observation] = []

    def session(self, execute_horizon: int) -> Any:
        outer = self

        class Session:
            def reset(self) -> None:
                pass

            def step(self, observation: Observation) -> ActionChunk:
                outer.seen.append(observation)
                orientation = outer.profile.orientation(observation.state)
                return ActionChunk(
                    outer.profile.normalize(outer.actions, orientation), outer.actions, {"model": 0.0}
                )

        return Session()


@pytest.fixture
def policy() -> Straight:
    return Straight([[0.02, 0, 0, 0, 0, 0.03, 1]])


def make(policy: Straight, limits: Limits | None = None, **arguments: Any) -> Controller:
    arguments.setdefault("states", RobotStates(["pose"], MAX_AGE))
    settings = ControlSettings(limits=limits or Limits(), future_tolerance_ns=10 * MS)
    controller = Controller(policy.session, policy.profile, ["static"], settings, **arguments)
    controller.set_instruction("pick")
    return controller


def see(controller: Controller, stamp: int) -> None:
    controller.offer("static", Frame(stamp, lambda: np.zeros((4, 4, 3), np.uint8)), stamp)


def feel(controller: Controller, stamp: int, *pose: float) -> str | None:
    """Report a pose, x y z roll pitch yaw, of which the last may be left out where they are 0."""
    numbers = [*pose, *[0.0] * (6 - len(pose))]
    quaternion = Rotation.from_euler("xyz", numbers[3:]).as_quat()
    return controller.offer_state("pose", stamp, tool_pose(numbers[:3], quaternion), stamp)


def acted(result: Action | Hold | None) -> Action:
    assert isinstance(result, Action), result
    return result


# -- what the policy is given


def test_the_policy_sees_the_state_nearest_to_its_image(policy: Straight) -> None:
    controller = make(policy, states=RobotStates(["pose", "gripper"], MAX_AGE), needs_state=True)
    for offset in (-30, -10, 20):
        feel(controller, START + offset * MS, offset)
        controller.offer_state("gripper", START + offset * MS, np.array([0.5]), START + offset * MS)
    see(controller, START)
    acted(controller.step(START + 20 * MS))
    np.testing.assert_array_equal(policy.seen[0].state, [-10, 0, 0, 0, 0, 0, 0.5])


@pytest.mark.parametrize("known", ["nothing", "too old", "the gripper only"])
def test_without_a_state_that_is_needed_nothing_is_inferred_and_the_image_waits(
    policy: Straight, known: str
) -> None:
    controller = make(policy, states=RobotStates(["pose", "gripper"], MAX_AGE), needs_state=True)
    if known == "too old":
        feel(controller, START - 51 * MS)
    if known != "nothing":
        controller.offer_state("gripper", START, np.array([1.0]), START)
    see(controller, START)
    assert controller.step(START) is Hold.NO_STATE
    assert not policy.seen
    feel(controller, START + 10 * MS)
    controller.offer_state("gripper", START + 10 * MS, np.array([1.0]), START + 10 * MS)
    assert acted(controller.step(START + 10 * MS)).stamp_ns == START


def test_an_image_that_waits_for_a_state_in_vain_grows_stale(policy: Straight) -> None:
    controller = make(policy, needs_state=True)
    see(controller, START)
    assert controller.step(START) is Hold.NO_STATE
    assert controller.step(START + 501 * MS) is Hold.STALE
    assert controller.counts["stale image"] == 1


def test_a_state_that_is_not_needed_is_simply_absent(policy: Straight) -> None:
    controller = make(policy)
    see(controller, START)
    acted(controller.step(START))
    assert policy.seen[0].state is None


def test_a_state_from_the_future_is_refused_and_counted(policy: Straight) -> None:
    controller = make(policy, needs_state=True)
    assert controller.offer_state("pose", START + 11 * MS, IDENTITY, START) == "future state"
    assert controller.counts["future state"] == 1
    see(controller, START)
    assert controller.step(START) is Hold.NO_STATE
    assert controller.offer_state("pose", START + 10 * MS, IDENTITY, START) is None


def test_a_clock_jump_forgets_the_state(policy: Straight) -> None:
    controller = make(policy, needs_state=True)
    feel(controller, START)
    earlier = START - 1000 * MS
    see(controller, earlier)
    assert controller.step(earlier) is Hold.NO_STATE
    assert feel(controller, earlier) is None
    acted(controller.step(earlier))


# -- the workspace


def test_a_motion_ends_on_the_wall_and_says_so(policy: Straight) -> None:
    controller = make(policy, BOX)
    feel(controller, START, 0.99, 0, 0.5)
    see(controller, START)
    action = acted(controller.step(START))
    np.testing.assert_allclose(action.action, [0.01, 0, 0, 0, 0, 0.03, 1])
    assert action.saturated == 0b1
    np.testing.assert_allclose(policy.profile.denormalize(action.normalized[None])[0], action.action, atol=1e-7)


def test_the_rows_of_a_chunk_follow_the_tool() -> None:
    policy = Straight([[0.02, 0, 0, 0, 0, 0, 1]] * 3)
    controller = make(policy, BOX)
    feel(controller, START, 0.97, 0, 0.5)
    see(controller, START)
    chunk = acted(controller.step(START)).chunk
    assert chunk is not None
    np.testing.assert_allclose(chunk.actions[:, 0], [0.02, 0.01, 0.0], atol=1e-12)
    assert chunk.saturated.tolist() == [0, 1, 1]


def test_the_norm_comes_before_the_walls(policy: Straight) -> None:
    policy.actions[0, :3] = [3.0, 4.0, 0.0]
    controller = make(policy, replace(BOX, translation=0.05))
    feel(controller, START, 0.99, 0, 0.5)
    see(controller, START)
    action = acted(controller.step(START))
    np.testing.assert_allclose(action.action[:3], [0.01, 0.04, 0.0], atol=1e-12)
    assert action.saturated == 0b11


@pytest.mark.parametrize("known", ["nothing", "too old"])
def test_a_workspace_without_a_pose_publishes_nothing(policy: Straight, known: str) -> None:
    controller = make(policy, BOX)
    if known == "too old":
        feel(controller, START - 51 * MS, 0, 0, 0.5)
    see(controller, START)
    assert controller.step(START) is Hold.NO_POSE
    assert not policy.seen
    feel(controller, START + 10 * MS, 0, 0, 0.5)
    acted(controller.step(START + 10 * MS))


def test_the_walls_are_held_against_the_newest_pose(policy: Straight) -> None:
    controller = make(policy, BOX)
    feel(controller, START, 0.0, 0, 0.5)
    see(controller, START)
    request = controller.plan(START)
    assert isinstance(request, Request)
    chunk = controller.infer(request)
    feel(controller, START + 40 * MS, 0.995, 0, 0.5)
    action = acted(controller.commit(request, chunk, START + 40 * MS))
    assert action.action[0] == pytest.approx(0.005)


def test_a_pose_that_is_lost_during_inference_holds_the_result_back(policy: Straight) -> None:
    controller = make(policy, BOX)
    feel(controller, START, 0, 0, 0.5)
    see(controller, START)
    request = controller.plan(START)
    assert isinstance(request, Request)
    assert controller.commit(request, controller.infer(request), START + 51 * MS) is Hold.NO_POSE
    assert controller.counts["no tool pose"] == 1
    assert controller.sequence == 0


def test_the_arm_can_be_stopped_without_a_pose(policy: Straight) -> None:
    controller = make(policy, BOX)
    feel(controller, START, 0, 0, 0.5)
    see(controller, START)
    acted(controller.step(START))
    stop = controller.watchdog(START + 2000 * MS)
    assert stop is not None
    assert not stop.action[:6].any()


def overlapped(start_x: float, **changes: Any) -> tuple[Controller, Callable[[float], int]]:
    """A controller with a chunk of six steps of 2 cm on its schedule, and what moves time and tool on by one."""
    policy = Straight([[0.02, 0, 0, 0, 0, 0, 1]] * 6)
    controller = make(policy, BOX)
    controller.apply(replace(controller.settings, chunk=ChunkSettings("open_loop", overlap=True, **changes)))
    feel(controller, START, start_x, 0, 0.5)
    see(controller, START)
    request = controller.plan(START)
    assert isinstance(request, Request)
    assert controller.commit(request, controller.infer(request), START) is Hold.EXECUTING
    moment = START

    def advance(x: float) -> int:
        nonlocal moment
        moment += controller.step_ns
        feel(controller, moment, x, 0, 0.5)
        return moment

    return controller, advance


def test_every_step_of_a_chunk_is_held_against_the_pose_of_its_own_time() -> None:
    controller, advance = overlapped(0.0)
    moves = [acted(controller.tick(advance(x))).action[0] for x in (0.0, 0.985, 1.0, 1.2)]
    np.testing.assert_allclose(moves, [0.02, 0.015, 0.0, 0.0], atol=1e-12)


@pytest.mark.parametrize("starvation", ["hold", "stop"])
def test_a_pose_that_is_lost_in_mid_chunk_ends_the_chunk(starvation: str) -> None:
    controller, advance = overlapped(0.0, starvation=starvation)
    last = advance(0.0)
    assert acted(controller.tick(last)).action[0] == 0.02
    held = controller.tick(last + MAX_AGE + MS)
    if starvation == "stop":
        assert not acted(held).action[:6].any()
    else:
        assert held is Hold.NO_POSE
    feel(controller, last + MAX_AGE + 2 * MS, 0.0, 0, 0.5)
    assert controller.tick(last + MAX_AGE + 2 * MS) is Hold.STARVED, "what led on from an unknown place is gone"


# -- models that predict in the tool's own frame


def tool_profile(rotation_format: str) -> RobotProfile:
    return RobotProfile(
        name="arm",
        frame="base_link",
        predicted_in="tool",
        rotation_format=rotation_format,
        step_duration=0.1,
        limits=ProfileLimits(translation=1.0, rotation=1.0),
    )


@pytest.mark.parametrize("rotation_format", ["rpy", "axis_angle"])
@pytest.mark.parametrize("limits", [Limits(translation=0.01), BOX])
def test_what_was_executed_is_told_in_the_tools_frame_that_it_was_predicted_in(
    rotation_format: str, limits: Limits
) -> None:
    policy = Straight([[0.02, 0.01, 0, 0.01, 0.02, 0.03, 1]], tool_profile(rotation_format))
    controller = make(policy, limits, needs_state=True)
    orientation = (0.3, -0.2, math.pi / 2)
    feel(controller, START, 0.99, 0, 0.5, *orientation)
    see(controller, START)
    action = acted(controller.step(START))
    assert action.saturated & 0b11
    executed = policy.profile.denormalize(action.normalized[None], np.array(orientation))[0]
    np.testing.assert_allclose(executed, action.action, atol=1e-6)


@pytest.mark.parametrize("rotation_format", ["rpy", "axis_angle"])
def test_an_arm_is_stopped_whatever_frame_its_model_predicts_in(rotation_format: str) -> None:
    policy = Straight([[0.02, 0.01, 0, 0.01, 0.02, 0.03, 1]], tool_profile(rotation_format))
    controller = make(policy, needs_state=True)
    feel(controller, START, 0, 0, 0.5, 0.3, -0.2, 0.1)
    see(controller, START)
    acted(controller.step(START))
    stop = controller.stop(START + 10 * MS)
    assert stop is not None
    np.testing.assert_allclose(stop.normalized, [0, 0, 0, 0, 0, 0, 1], atol=1e-7)
