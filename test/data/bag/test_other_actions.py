"""Recordings without VLAAction: velocities and poses become what the arm did between two images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bags
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robovlms_ros.data.bag.commanded import NO_GRIPPER, NO_INSTRUCTION
from robovlms_ros.data.bag.file import BagError
from robovlms_ros.data.bag.motions import IDLE, NO_POSE, PoseMotion, TwistMotion
from robovlms_ros.data.bag.options import BagOptions
from robovlms_ros.data.bag.source import BagSource
from robovlms_ros.data.bag.tracks import Track
from robovlms_ros.data.quaternions import axis_angle_to_quaternion
from robovlms_ros.data.rotations import axis_angle_to_rpy, rpy_to_axis_angle, rpy_to_matrix


def options(**changes: Any) -> BagOptions:
    content = {"action": "/twist", "instruction": "open", "gripper": {"initial": 1.0}}
    return BagOptions.model_validate({**content, **changes})


def record_images(writer: bags.BagWriter, steps: int, period: float = 0.1, skip: tuple[int, ...] = ()) -> None:
    for i in range(steps):
        if i not in skip:
            writer.put("/camera", bags.image(bags.picture(i), i * period), i * period + 0.02)


def test_a_velocity_times_the_period_is_the_motion(tmp_path: Path) -> None:
    with bags.bag(tmp_path / "bag") as writer:
        record_images(writer, 8)
        for i in range(8):
            writer.put("/twist", bags.twist([i, 0, -1], [0, 0.2 * i, 0], i / 10), i / 10 + 0.01)
    episode = BagSource([tmp_path / "bag"], options())[0]
    assert (len(episode), episode.step_duration, episode.instruction) == (7, 0.1, "open")
    np.testing.assert_allclose(episode.actions[3], [0.3, 0, -0.1, 0, 0.06, 0, 1], atol=1e-9)
    np.testing.assert_array_equal(episode.image("static", 3), bags.picture(3))


def test_commands_between_images_are_added_up_and_time_out(tmp_path: Path) -> None:
    with bags.bag(tmp_path / "bag") as writer:
        record_images(writer, 6, period=1.0)
        for i in range(21):  # 10 Hz for two seconds, then silence, then one more
            writer.put("/twist", bags.twist([0.1 if i < 10 else 0.3, 0, 0], [0, 0, 0], i / 10), i / 10)
        writer.put("/twist", bags.twist([1, 0, 0], [0, 0, 0], 3.9), 3.9)
    episode = BagSource([tmp_path / "bag"], options(command_timeout=0.25))[0]
    np.testing.assert_allclose(episode.actions[:, 0], [0.1, 0.3, 0.3 * 0.25, 0.1, 0.15], atol=1e-8)


def test_what_lies_before_the_first_and_after_the_last_command_is_no_episode(tmp_path: Path) -> None:
    with bags.bag(tmp_path / "bag") as writer:
        record_images(writer, 12)
        for i in (4, 5, 6):
            writer.put("/twist", bags.twist([1, 0, 0], [0, 0, 0], i / 10), i / 10)
    faults = BagSource([tmp_path / "bag"], options(command_timeout=0.1))[0].faults
    assert sorted(faults) == [0, 1, 2, 3, 7, 8, 9, 10]
    assert set(faults.values()) == {IDLE}


def test_poses_give_the_way_from_image_to_image(tmp_path: Path) -> None:
    angles = np.array([[0.1, -0.2, 0.3], [0.15, -0.2, 0.35], [0.2, 0.0, 0.3], [0.1, 0.1, 0.1]])
    places = np.array([[0.0, 0, 0], [0.02, 0, 0], [0.02, 0.01, 0], [0, 0, 0.05]])
    with bags.bag(tmp_path / "bag") as writer:
        record_images(writer, 4)
        for i, (place, rpy) in enumerate(zip(places, angles, strict=True)):
            turn = axis_angle_to_quaternion(rpy_to_axis_angle(rpy)) * (-1) ** i
            writer.put("/pose", bags.pose(place, turn, i / 10), i / 10 + 0.01)
    given_options = options(action="/pose")
    episode = BagSource([tmp_path / "bag"], given_options)[0]
    np.testing.assert_allclose(episode.actions[:, :3], np.diff(places, axis=0), atol=1e-12)
    for step in range(3):
        turned = rpy_to_matrix(episode.actions[step, 3:6]) @ rpy_to_matrix(angles[step])
        np.testing.assert_allclose(turned, rpy_to_matrix(angles[step + 1]), atol=1e-9)
    axis = BagSource([tmp_path / "bag"], given_options.model_copy(update={"rotation_format": "axis_angle"}))
    assert axis.rotation_format == "axis_angle"
    np.testing.assert_allclose(axis_angle_to_rpy(axis[0].actions[:, 3:6]), episode.actions[:, 3:6], atol=1e-12)


def test_poses_are_interpolated_but_not_over_a_pause(tmp_path: Path) -> None:
    with bags.bag(tmp_path / "bag") as writer:
        record_images(writer, 12)
        for i in range(40):
            at = i * 0.03 - 0.01
            if not 0.505 < at < 0.675:
                writer.put("/pose", bags.pose([at, 0, 0], [0, 0, 0, 1], at), at + 0.02)
    episode = BagSource([tmp_path / "bag"], options(action="/pose"))[0]
    assert set(episode.faults) == {5, 6}
    assert set(episode.faults.values()) == {NO_POSE}
    good = [step for step in range(11) if step not in episode.faults]
    np.testing.assert_allclose(episode.actions[good, 0], 0.1, atol=1e-8)


@given(
    cuts=st.lists(st.floats(0.05, 0.95), min_size=0, max_size=4, unique=True),
    velocity=st.lists(st.floats(-1, 1), min_size=6, max_size=6),
)
def test_a_steady_velocity_moves_the_same_however_time_is_divided(
    cuts: list[float], velocity: list[float]
) -> None:
    stamps = [bags.ns(second / 5) for second in range(6)]
    twists = [bags.twist(velocity[:3], velocity[3:], 0)] * 6
    motion = TwistMotion(Track(stamps, stamps, twists), timeout=1.0)
    times = np.array(sorted({0, *(round(cut * 1e9) for cut in cuts), 10**9})) + bags.START_NS
    parts, faults = motion.between(times)
    assert faults == {}
    np.testing.assert_allclose(parts.sum(axis=0), velocity, atol=1e-6)


def test_poses_that_are_no_poses_are_left_out() -> None:
    good = [bags.pose([i, 0, 0], [0, 0, 0, 1], i) for i in range(3)]
    bad = bags.pose([9, 0, 0], [0, 0, 0, 0.5], 1.5)
    nan = bags.pose([np.nan, 0, 0], [0, 0, 0, 1], 1.6)
    messages = [*good[:2], bad, nan, good[2]]
    stamps = [bags.ns(seconds) for seconds in (0, 1, 1.5, 1.6, 2)]
    motions, faults = PoseMotion(Track(stamps, stamps, messages)).between(np.array([stamps[1], stamps[4]]))
    assert faults == {}
    np.testing.assert_allclose(motions[0], [1, 0, 0, 0, 0, 0], atol=1e-12)


class TestGripper:
    @pytest.mark.parametrize(
        ("message", "gripper"),
        [
            (lambda v: bags.numbers(5.0, v), {"joint": "1"}),
            (lambda v: bags.numbers(v), {}),
            (lambda v: bags.joints({"a": 7.0, "finger": v}, 0.0), {"joint": "finger"}),
            (lambda v: bags.T["std_msgs/msg/Float64"](data=v), {}),
        ],
        ids=["array", "first of an array", "joint", "number"],
    )
    def test_an_opening_is_read_from_any_of_the_types(
        self, tmp_path: Path, message: Any, gripper: dict[str, str]
    ) -> None:
        with bags.bag(tmp_path / "bag") as writer:
            record_images(writer, 6)
            for i in range(6):
                writer.put("/twist", bags.twist([0.1, 0, 0], [0, 0, 0], i / 10), i / 10)
                if i in (1, 4):
                    made = message(0.8 if i == 1 else 0.2)
                    if hasattr(made, "header"):
                        made.header.stamp = bags.header(i / 10 + 0.05).stamp
                    writer.put("/gripper", made, i / 10 + 0.05)
        told = {"topic": "/gripper", "closed": 1.0, "open": 0.0, **gripper}
        episode = BagSource([tmp_path / "bag"], options(gripper=told))[0]
        # What is said between two images is the action of the first of them.
        assert episode.faults == {0: NO_GRIPPER}
        np.testing.assert_allclose(episode.actions[1:, 6], [0.2, 0.2, 0.2, 0.8], atol=1e-12)
        known = BagSource([tmp_path / "bag"], options(gripper={**told, "initial": 0.0}))[0]
        assert (known.faults, known.actions[0, 6]) == ({}, 0.0)

    @pytest.mark.parametrize(
        ("gripper", "message"),
        [
            ({"topic": "/gripper", "joint": "thumb"}, "no joint 'thumb'; name one of a, finger"),
            ({"topic": "/camera"}, "--gripper '/camera' is a sensor_msgs/msg/Image; it must be one of"),
            ({}, "--gripper, or give the opening that it always has with --gripper-initial"),
        ],
    )
    def test_a_gripper_that_is_not_there_says_what_is(
        self, tmp_path: Path, gripper: dict[str, str], message: str
    ) -> None:
        with bags.bag(tmp_path / "bag") as writer:
            record_images(writer, 3)
            writer.put("/twist", bags.twist([0, 0, 0], [0, 0, 0], 0), 0)
            writer.put("/gripper", bags.joints({"a": 7.0, "finger": 1.0}, 0.0), 0)
        with pytest.raises(BagError, match=message):
            BagSource([tmp_path / "bag"], options(gripper=gripper))


def test_instructions_of_a_topic_divide_and_an_empty_one_ends(tmp_path: Path) -> None:
    told = {0.25: "open", 0.55: "", 0.75: "close"}
    with bags.bag(tmp_path / "bag") as writer:
        for i in range(11):
            for at, words in told.items():
                if i / 10 < at < i / 10 + 0.1:
                    writer.put("/instruction", bags.text(words), at)
            writer.put("/camera", bags.image(bags.picture(i), i / 10), i / 10 + 0.02)
            writer.put("/twist", bags.twist([0.1, 0, 0], [0, 0, 0], i / 10), i / 10 + 0.03)
    source = BagSource([tmp_path / "bag"], options(instruction="", instruction_topic="/instruction"))
    used = {episode.instruction: len(episode) for episode in source if not episode.faults}
    assert used == {"open": 3, "close": 2}
    assert {fault for episode in source for fault in episode.faults.values()} == {NO_INSTRUCTION}


def test_a_pause_of_the_camera_divides(tmp_path: Path) -> None:
    with bags.bag(tmp_path / "bag") as writer:
        record_images(writer, 20, skip=(7, 8, 9))
        for i in range(20):
            writer.put("/twist", bags.twist([0.1, 0, 0], [0, 0, 0], i / 10), i / 10)
    assert [len(episode) for episode in BagSource([tmp_path / "bag"], options())] == [6, 9]


def test_a_rate_below_the_cameras_takes_the_images_nearest_to_it(tmp_path: Path) -> None:
    with bags.bag(tmp_path / "bag") as writer:
        record_images(writer, 31, period=1 / 30)
        for i in range(31):
            writer.put("/twist", bags.twist([0.3, 0, 0], [0, 0, 0], i / 30), i / 30)
    episode = BagSource([tmp_path / "bag"], options(rate=10.0))[0]
    assert (len(episode), episode.step_duration) == (10, 0.1)
    np.testing.assert_allclose(episode.actions[:, 0], 0.03, atol=1e-8)
    np.testing.assert_array_equal(episode.image("static", 4), bags.picture(12))
    with pytest.raises(BagError, match=r"--rate 60 is more than the camera's 30.0 images a second"):
        BagSource([tmp_path / "bag"], options(rate=60.0))


def test_a_topic_in_two_frames_is_refused(tmp_path: Path) -> None:
    with bags.bag(tmp_path / "bag") as writer:
        record_images(writer, 3)
        for i, frame in enumerate(("base", "tool")):
            writer.put("/twist", bags.twist([0, 0, 0], [0, 0, 0], i / 10, frame), i / 10)
    with pytest.raises(BagError, match="is in the frames 'base', 'tool'"):
        BagSource([tmp_path / "bag"], options())
