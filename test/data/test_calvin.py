"""CALVIN's folder format, written by the test as the data set's description has it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import calvin_folder
import numpy as np
import pytest

from robovlms_ros.data.calvin import BAD_GRIPPER, NO_FRAME, CalvinSource
from robovlms_ros.data.convert import convert
from robovlms_ros.data.errors import DataError
from robovlms_ros.data.folder.format import ImageFormat, Origin
from robovlms_ros.data.folder.reader import FolderSource, open_dataset
from robovlms_ros.data.recorded import NOT_FINITE
from robovlms_ros.policy.robot_profile import load_profile

SEGMENTS = [("push the red block", 100, 108), ("open the drawer", 105, 117)]


@pytest.fixture
def split(tmp_path: Path) -> Path:
    return calvin_folder.write_split(tmp_path / "task_D_D" / "training", SEGMENTS)


def imported(folder: Path, out: Path) -> FolderSource:
    convert(CalvinSource(folder), out, Origin(importer="calvin", path="x"), images=ImageFormat(encoding="png"))
    return open_dataset(out)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("protocol_numbers", [True, False])
def test_segments_come_back_in_metres_radians_and_opening(
    tmp_path: Path, compressed: bool, protocol_numbers: bool
) -> None:
    folder = tmp_path / "task_D_D" / "training"
    calvin_folder.write_split(folder, SEGMENTS, compressed=compressed, protocol_numbers=protocol_numbers)
    read = imported(folder, tmp_path / "set")
    assert (read.name, read.frame, read.rotation_format) == ("task_D_D/training", "world", "rpy")
    assert [(e.identifier, e.instruction, len(e)) for e in read] == [
        ("0000100-0000108", "push the red block", 8),
        ("0000105-0000117", "open the drawer", 12),
    ]
    for episode, (_, start, _) in zip(read, SEGMENTS, strict=True):
        assert episode.step_duration == pytest.approx(1 / 30)
        for step in range(len(episode)):
            frame = calvin_folder.frame(start + step)
            action, state = frame["rel_actions"], frame["robot_obs"]
            np.testing.assert_allclose(episode.actions[step, :3], action[:3] / 50, rtol=1e-14)
            np.testing.assert_allclose(episode.actions[step, 3:6], action[3:6] / 20, rtol=1e-14)
            assert episode.actions[step, 6] == (action[6] == 1)
            assert episode.states is not None
            np.testing.assert_array_equal(episode.states[step, :6], state[:6])
            assert episode.states[step, 6] == pytest.approx(state[6] / 0.08)
            np.testing.assert_array_equal(episode.image("static", step), frame["rgb_static"])
            np.testing.assert_array_equal(episode.image("hand", step), frame["rgb_gripper"])


def test_the_robot_profile_turns_them_back_into_the_data_sets_numbers(split: Path) -> None:
    actions = CalvinSource(split)[0].actions
    given = np.array([calvin_folder.frame(100 + step)["rel_actions"] for step in range(8)])
    np.testing.assert_allclose(load_profile("calvin").from_si(actions)[:, :6], given[:, :6], rtol=1e-12)


def damage(split: Path, frame: int, **changes: Any) -> None:
    content = {**calvin_folder.frame(frame), **changes}
    kept = {key: value for key, value in content.items() if value is not None}
    np.savez(calvin_folder.frame_path(split, frame), **kept)


@pytest.mark.parametrize(
    ("change", "reason", "detail"),
    [
        ("missing", NO_FRAME, "No such file"),
        ("cut short", NO_FRAME, "episode_0000103.npz: "),
        ("empty", NO_FRAME, "episode_0000103.npz: "),
        ({"rel_actions": None}, NO_FRAME, "it has no rel_actions"),
        ({"robot_obs": np.zeros(3)}, NO_FRAME, r"robot_obs is float64 \(3,\)"),
        ({"rel_actions": np.array([1] * 6 + ["a"], dtype=object)}, NO_FRAME, "allow_pickle=False"),
        ({"rel_actions": np.full(7, np.nan)}, NOT_FINITE, ""),
        ({"rel_actions": np.full(7, 3.0)}, BAD_GRIPPER, ""),
        ({"rgb_gripper": None}, "unusable image of camera hand", "rgb_gripper is nothing"),
        ({"rgb_static": np.zeros((20, 20))}, "unusable image of camera static", r"float64 \(20, 20\)"),
    ],
)
def test_a_bad_frame_costs_its_step_alone(
    split: Path, tmp_path: Path, change: Any, reason: str, detail: str
) -> None:
    path = calvin_folder.frame_path(split, 103)
    if change == "missing":
        path.unlink()
    elif change == "cut short":
        path.write_bytes(path.read_bytes()[:700])
    elif change == "empty":
        path.write_bytes(b"")
    else:
        damage(split, 103, **change)
    read = imported(split, tmp_path / "set")
    assert [len(episode) for episode in read] == [3, 4, 12]
    (group,) = read.info.dropped
    assert (group.reason, group.count) == (reason, 1)
    assert group.examples[0].startswith("episode 0000100-0000108, step 3")
    assert __import__("re").search(detail, group.examples[0])


def test_bits_that_are_wrong_inside_a_compressed_frame_are_noticed(split: Path, tmp_path: Path) -> None:
    path = calvin_folder.frame_path(split, 110)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("rgb_static.npy").header_offset + 200
    data[start : start + 50] = bytes(50)
    path.write_bytes(data)
    (group,) = imported(split, tmp_path / "set").info.dropped
    assert (group.reason, group.count) == ("unusable image of camera static", 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("folder", "has no episode_.*; name .*/training"),
        ("annotations", r"auto_lang_ann.npy does not exist; --annotations may be lang_clip"),
        ("none", "only frames with language can be used"),
    ],
)
def test_a_folder_that_is_not_whole_says_what_there_is(split: Path, change: str, message: str) -> None:
    folder = split.parent if change == "folder" else split
    if change == "annotations":
        (split / "lang_annotations").rename(split / "lang_clip")
    elif change == "none":
        (split / "lang_annotations" / "auto_lang_ann.npy").unlink()
    with pytest.raises(DataError, match=message):
        CalvinSource(folder)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"name a split such as task_D_D/training"):
        CalvinSource(tmp_path / "nothing")


@pytest.mark.parametrize(
    "content",
    [
        {"language": {}},
        [],
        {"language": {"ann": ["a"]}, "info": {"indx": [(5, 9), (1, 2)]}},
        {"language": {"ann": [7]}, "info": {"indx": [(1, 2)]}},
        {"language": {"ann": ["a"]}, "info": {"indx": [(1, 10**12)]}},
        {"language": {"ann": ["a"]}, "info": {"indx": [(9, 5)]}},
    ],
)
def test_annotations_of_another_kind_are_refused(split: Path, content: Any) -> None:
    np.save(split / "lang_annotations" / "auto_lang_ann.npy", np.array(content, dtype=object))
    with pytest.raises(DataError, match=r"auto_lang_ann\.npy"):
        CalvinSource(split)
