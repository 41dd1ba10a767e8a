"""A bag of what a node published becomes the same episodes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bags
import numpy as np
import pytest

from robovlms_ros.data.bag.file import BagError
from robovlms_ros.data.bag.options import BagOptions
from robovlms_ros.data.bag.source import NO_IMAGE, STOP, BagSource
from robovlms_ros.data.bag.vla_action import DEFINITION, TYPE_NAME
from robovlms_ros.data.convert import convert
from robovlms_ros.data.folder.format import ImageFormat, Origin
from robovlms_ros.data.folder.reader import FolderSource, open_dataset
from robovlms_ros.data.report import DropReport
from robovlms_ros.data.rotations import axis_angle_to_rpy

Change = Callable[[int], dict[str, Any]]


def record(
    path: Path,
    rows: np.ndarray,
    storage: str = "mcap",
    change: Change = lambda step: {},
    camera: Callable[[np.ndarray, float], Any] = bags.image,
) -> Path:
    """Step i: an image at i / 10 s, received 20 ms later, and an action that answers it, received 60 ms later."""
    with bags.bag(path, storage) as writer:
        writer.put("/instruction", bags.text("pick up the block"), -1)
        for i, row in enumerate(rows):
            writer.put("/camera/image_raw", camera(bags.picture(i), i / 10), i / 10 + 0.02)
            options = {"sequence": i, **change(i)}
            at = options.pop("at", i / 10)
            if not options.pop("lost", False):
                writer.put("/action", bags.action(row, at, **options), i / 10 + 0.06)
    return path


def imported(source: BagSource, folder: Path) -> FolderSource:
    origin = Origin(importer="bag", path="x")
    convert(source, folder, origin, images=ImageFormat(encoding="png"), report=source.report)
    return open_dataset(folder)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize(
    "camera",
    [
        bags.image,
        lambda pixels, seconds: bags.image(pixels, seconds, "bgr8", padding=5),
        bags.compressed,
    ],
    ids=["rgb8", "bgr8 padded", "compressed"],
)
def test_actions_and_pixels_come_back_exactly(tmp_path: Path, storage: str, camera: Any) -> None:
    rows = bags.rows(12)
    with BagSource([record(tmp_path / "bag", rows, storage, camera=camera)]) as source:
        (read,) = imported(source, tmp_path / "set")
    assert (read.identifier, read.instruction, read.step_duration) == ("bag/0", "pick up the block", 0.1)
    expected = rows.astype(np.float64)
    expected[:, 6] = expected[:, 6].astype(np.float32)
    np.testing.assert_array_equal(read.actions, expected)
    for step in range(12):
        np.testing.assert_array_equal(read.image("static", step), bags.picture(step))
    assert read.stamps is not None
    np.testing.assert_array_equal(read.stamps, [bags.ns(step / 10) for step in range(12)])
    dataset = open_dataset(tmp_path / "set")
    assert (dataset.frame, dataset.rotation_format, dataset.info.dropped) == ("base", "axis_angle", ())


def test_episodes_and_instructions_divide(tmp_path: Path) -> None:
    def change(step: int) -> dict[str, Any]:
        return {"episode": step // 3, "sequence": step % 3, "instruction": f"task {step // 6}"}

    source = BagSource([record(tmp_path / "bag", bags.rows(9), change=change)])
    assert [(e.identifier, e.instruction, len(e)) for e in source] == [
        ("bag/0", "task 0", 3),
        ("bag/1", "task 0", 3),
        ("bag/2", "task 1", 3),
    ]


def test_a_lost_action_divides_and_is_counted(tmp_path: Path) -> None:
    source = BagSource([record(tmp_path / "bag", bags.rows(9), change=lambda step: {"lost": step in (3, 4)})])
    assert [len(episode) for episode in source] == [3, 4]
    (group,) = source.report.groups()
    assert (group.reason, group.count) == ("action that was not recorded: a gap in the sequence", 2)


def test_without_a_counter_a_pause_divides(tmp_path: Path) -> None:
    def change(step: int) -> dict[str, Any]:
        return {"sequence": 0, "lost": step in (3, 4, 5)}

    source = BagSource([record(tmp_path / "bag", bags.rows(12), change=change)])
    assert [len(episode) for episode in source] == [3, 6]
    longer = BagSource([tmp_path / "bag"], BagOptions(max_gap=1.0))
    assert [len(episode) for episode in longer] == [9]


def test_a_stop_action_is_no_step_even_near_an_image(tmp_path: Path) -> None:
    rows = bags.rows(6)
    rows[4, :6] = 0

    def change(step: int) -> dict[str, Any]:
        return {"at": 0.41, "inference_time": bags.duration(0)} if step == 4 else {}

    source = BagSource([record(tmp_path / "bag", rows, change=change)])
    assert source[0].faults == {4: STOP}
    read = imported(source, tmp_path / "set")
    assert [len(episode) for episode in read] == [4, 1]
    assert [group.reason for group in read.info.dropped] == [STOP]


def test_an_action_that_stands_still_for_its_image_is_a_step(tmp_path: Path) -> None:
    rows = bags.rows(5)
    rows[2, :6] = 0
    source = BagSource([record(tmp_path / "bag", rows, change=lambda step: {"inference_time": bags.duration(0)})])
    assert source[0].faults == {}


def test_images_are_matched_by_stamp_exactly_or_else_within_the_slop(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", bags.rows(4), change=lambda i: {"at": i / 10 + 0.02 * (i == 1)})
    near = BagSource([path])[0]
    assert near.faults == {}
    np.testing.assert_array_equal(near.image("static", 1), bags.picture(1))
    assert BagSource([path], BagOptions(slop=0.01))[0].faults == {1: NO_IMAGE}


def test_two_cameras_are_matched_each_to_the_action(tmp_path: Path) -> None:
    rows = bags.rows(6)
    with bags.bag(tmp_path / "bag") as writer:
        for i, row in enumerate(rows):
            # The hand camera is 7 ms late and is received before the other; it misses step 4.
            if i != 4:
                writer.put("/hand", bags.image(bags.picture(100 + i, side=6), i / 10 + 0.007), i / 10 + 0.01)
            writer.put("/front", bags.image(bags.picture(i), i / 10), i / 10 + 0.05)
            writer.put("/action", bags.action(row, i / 10, sequence=i), i / 10 + 0.08)
    with BagSource([tmp_path / "bag"], BagOptions(image="/front", hand_image="/hand")) as source:
        assert source[0].faults == {4: NO_IMAGE}
        for step in (5, 0, 3, 1):
            np.testing.assert_array_equal(source[0].image("hand", step), bags.picture(100 + step, side=6))
            np.testing.assert_array_equal(source[0].image("static", step), bags.picture(step))
        read = imported(source, tmp_path / "set")
    assert [len(episode) for episode in read] == [4, 1]
    assert read[1].cameras == ("static", "hand")


def test_states_are_the_pose_at_the_image(tmp_path: Path) -> None:
    with bags.bag(tmp_path / "bag") as writer:
        for i, row in enumerate(bags.rows(5)):
            writer.put("/camera", bags.image(bags.picture(i), i / 10), i / 10 + 0.02)
            if i != 3:
                turn = [0, 0, np.sin(i / 20), np.cos(i / 20)]
                writer.put("/tool_pose", bags.pose([i, 0.5, 0], turn, i / 10 + 0.01), i / 10 + 0.03)
            writer.put("/joint_states", bags.joints({"a": 9.0, "finger": 0.04 - 0.01 * i}, i / 10), i / 10 + 0.04)
            writer.put("/action", bags.action(row, i / 10, sequence=i), i / 10 + 0.06)
    gripper = {"topic": "/joint_states", "joint": "finger", "closed": 0.0, "open": 0.04}
    options = BagOptions.model_validate({"state": "/tool_pose", "gripper": gripper})
    episode = BagSource([tmp_path / "bag"], options)[0]
    assert list(episode.faults) == [3]
    states = episode.states
    assert states is not None
    np.testing.assert_allclose(states[2], [2, 0.5, 0, 0, 0, 0.2, 0.5], atol=1e-12)
    assert BagSource([tmp_path / "bag"])[0].states is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mode": 1}, "absolute pose"),
        ({"rotation_format": 7}, "unknown rotation format 7"),
        ({"header": bags.header(0.2, "tool")}, "frame 'tool', the first one in 'base'"),
        ({"gripper": 1.5}, "not in"),
        ({"translation": bags.vector([0, np.nan, 0])}, "NaN or infinite"),
        ({"gripper": float("nan")}, "NaN or infinite"),
    ],
)
def test_an_action_that_cannot_be_used_is_a_faulty_step(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    path = record(tmp_path / "bag", bags.rows(5), change=lambda step: change if step == 2 else {})
    read = imported(BagSource([path]), tmp_path / "set")
    assert [len(episode) for episode in read] == [2, 2]
    (group,) = read.info.dropped
    assert reason in group.reason
    assert group.examples == ["episode bag/0, step 2"]


def test_rotations_of_another_format_are_converted(tmp_path: Path) -> None:
    rows = bags.rows(4)
    path = record(tmp_path / "bag", rows, change=lambda step: {"rotation_format": 0} if step == 2 else {})
    np.testing.assert_allclose(axis_angle_to_rpy(BagSource([path])[0].actions[2, 3:6]), rows[2, 3:6])
    rpy = BagSource([path], BagOptions(rotation_format="rpy"))
    assert rpy.rotation_format == "rpy"
    np.testing.assert_allclose(rpy[0].actions[1, 3:6], axis_angle_to_rpy(rows[1, 3:6]))
    np.testing.assert_allclose(rpy[0].actions[2, 3:6], rows[2, 3:6], atol=1e-15)


def test_an_instruction_can_be_given_where_none_was_recorded(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", bags.rows(3), change=lambda step: {"instruction": ""})
    assert set(BagSource([path])[0].faults.values()) == {"no instruction: give one with --instruction"}
    told = BagSource([path], BagOptions(instruction="wave"))[0]
    assert (told.instruction, told.faults) == ("wave", {})


def test_a_bag_without_definitions_is_read_by_ours(tmp_path: Path) -> None:
    import sqlite3

    path = record(tmp_path / "bag", bags.rows(3), "sqlite3")
    (file,) = path.glob("*.db3")
    with sqlite3.connect(file) as database:
        database.execute("DELETE FROM message_definitions")
    np.testing.assert_array_equal(BagSource([path])[0].actions[:, :6], bags.rows(3)[:, :6])


def test_our_definition_is_that_of_the_message() -> None:
    from rosbags.typesys import get_types_from_msg

    path = Path(__file__).parents[3] / "msg" / "VLAAction.msg"
    assert get_types_from_msg(DEFINITION, TYPE_NAME) == get_types_from_msg(path.read_text(), TYPE_NAME)


def test_a_report_collects_what_several_bags_lack(tmp_path: Path) -> None:
    good = record(tmp_path / "good", bags.rows(4))
    other = record(tmp_path / "tool", bags.rows(4), change=lambda step: {"header": bags.header(step / 10, "tool")})
    (tmp_path / "empty").mkdir()
    report = DropReport()
    source = BagSource([tmp_path / "empty", good, tmp_path / "absent", other], report=report)
    assert [episode.identifier for episode in source] == ["good/0"]
    reasons = {group.reason: group for group in report.groups()}
    assert reasons["bag that cannot be used"].count == 2
    assert reasons["actions in frame 'tool', those before are in 'base'"].examples == ["episode tool/0"]
    with pytest.raises(BagError, match="absent does not exist"):
        BagSource([tmp_path / "absent"])
