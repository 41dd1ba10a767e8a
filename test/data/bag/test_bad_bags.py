"""Bags that lack something or are damaged: what is wrong is named, what is whole is kept."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import bags
import numpy as np
import pytest

from robovlms_ros.data.bag.file import BagError, open_bag
from robovlms_ros.data.bag.options import BagOptions, GripperOptions
from robovlms_ros.data.bag.source import BagSource
from robovlms_ros.data.convert import convert
from robovlms_ros.data.folder.format import Origin
from robovlms_ros.data.folder.reader import FolderSource, open_dataset

ORIGIN = Origin(importer="bag", path="x")


def record(path: Path, steps: int = 6, storage: str = "mcap", side: int = 8, start: int = 0) -> Path:
    with bags.bag(path, storage) as writer:
        for i in range(start, start + steps):
            writer.put("/camera", bags.image(bags.picture(i, side), i / 10), i / 10 + 0.02)
            writer.put("/action", bags.action(bags.rows(start + steps)[i], i / 10, sequence=i), i / 10 + 0.06)
    return path


def imported(source: BagSource, folder: Path) -> FolderSource:
    convert(source, folder, ORIGIN, report=source.report)
    return open_dataset(folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"action": "/vla/action"}, r"no message on '/vla/action'; it holds /action \(6\), /camera \(6\)"),
        ({"image": "/front"}, r"no message on '/front'; it holds /action \(6\), /camera \(6\)"),
        ({"hand_image": "/wrist"}, "no message on '/wrist'"),
        (
            {"state": "/action"},
            "--state '/action' is a robovlms_ros/msg/VLAAction; it must be one of geometry",
        ),
        ({"action": "/camera"}, "--action '/camera' is a sensor_msgs/msg/Image; it must be one of robovlms_ros"),
    ],
)
def test_a_topic_that_is_not_there_is_named_with_those_that_are(
    tmp_path: Path, options: dict[str, str], message: str
) -> None:
    with pytest.raises(BagError, match=message):
        BagSource([record(tmp_path / "bag")], BagOptions.model_validate(options))


def test_of_several_cameras_one_must_be_named(tmp_path: Path) -> None:
    with bags.bag(tmp_path / "bag") as writer:
        for topic in ("/front", "/wrist"):
            writer.put(topic, bags.image(bags.picture(0), 0), 0)
        writer.put("/action", bags.action(bags.rows(1)[0], 0), 0.1)
    with pytest.raises(BagError, match=r"2 topics \(/front, /wrist\).*name one with --image"):
        BagSource([tmp_path / "bag"])


def test_a_bag_without_any_action_says_what_could_be_one(tmp_path: Path) -> None:
    with bags.bag(tmp_path / "bag") as writer:
        writer.put("/camera", bags.image(bags.picture(0), 0), 0)
    with pytest.raises(BagError, match=r"no topic of type robovlms_ros/msg/VLAAction; name one with --action"):
        BagSource([tmp_path / "bag"])


def test_more_actions_than_images_keeps_the_steps_with_both(tmp_path: Path) -> None:
    with bags.bag(tmp_path / "bag") as writer:
        for i in range(9):
            if i not in (0, 4, 8):
                writer.put("/camera", bags.image(bags.picture(i), i / 10), i / 10 + 0.02)
            writer.put("/action", bags.action(bags.rows(9)[i], i / 10, sequence=i), i / 10 + 0.06)
    read = imported(BagSource([tmp_path / "bag"]), tmp_path / "set")
    assert [len(episode) for episode in read] == [3, 3]
    np.testing.assert_allclose(read[1].actions[:, :6], bags.rows(9)[5:8, :6])
    (group,) = read.info.dropped
    assert (group.reason, group.count) == ("no image at the time of the action", 3)


def test_a_corrupt_jpeg_costs_its_step_alone(tmp_path: Path) -> None:
    with bags.bag(tmp_path / "bag") as writer:
        for i in range(6):
            writer.put("/camera", bags.compressed(bags.picture(i), i / 10, "jpeg", 99 if i == 2 else None), i / 10)
            writer.put("/action", bags.action(bags.rows(6)[i], i / 10, sequence=i), i / 10 + 0.06)
    read = imported(BagSource([tmp_path / "bag"]), tmp_path / "set")
    assert [len(episode) for episode in read] == [2, 3]
    (group,) = read.info.dropped
    assert group.reason == "unusable image of camera static"
    assert group.examples[0].startswith("episode bag/0, step 2: corrupt or not JPEG or PNG (99 bytes)")


def test_a_depth_camera_is_no_colour_camera(tmp_path: Path) -> None:
    with bags.bag(tmp_path / "bag") as writer:
        depth = bags.image(bags.picture(0), 0)
        depth.encoding = "16UC1"
        writer.put("/camera", depth, 0)
        writer.put("/action", bags.action(bags.rows(1)[0], 0), 0.1)
    with pytest.raises(ValueError, match=r"no episode is left: unusable image of camera static \(1 steps\)"):
        imported(BagSource([tmp_path / "bag"]), tmp_path / "set")


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_file_cut_short_is_an_error_that_names_it(tmp_path: Path, storage: str) -> None:
    path = record(tmp_path / "bag", storage=storage)
    (file,) = [file for file in path.iterdir() if file.suffix in (".mcap", ".db3")]
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 3])
    with pytest.raises(BagError, match="bag"):
        BagSource([path])


def split_bag(tmp_path: Path) -> Path:
    """A bag of two files, as recorders split them, whose metadata is lost."""
    folder = tmp_path / "split"
    folder.mkdir()
    for number in range(2):
        part = record(tmp_path / f"part{number}", start=6 * number)
        (file,) = part.glob("*.mcap")
        shutil.move(file, folder / f"split_{number}.mcap")
    return folder


def test_a_recording_whose_recorder_was_killed_is_read_without_its_metadata(tmp_path: Path) -> None:
    source = BagSource([split_bag(tmp_path)])
    assert [len(episode) for episode in source] == [12]
    np.testing.assert_array_equal(source[0].image("static", 11), bags.picture(11))


def test_of_a_split_bag_with_a_damaged_file_the_others_are_kept(tmp_path: Path) -> None:
    folder = split_bag(tmp_path)
    file = folder / "split_0.mcap"
    file.write_bytes(file.read_bytes()[:-100])
    read = imported(BagSource([folder]), tmp_path / "set")
    assert [len(episode) for episode in read] == [6]
    (group,) = read.info.dropped
    assert (group.reason, group.unit) == ("file that cannot be read", "file")
    assert "split_0.mcap" in group.examples[0]
    assert "mcap recover" in group.examples[0]


def test_a_bag_damaged_in_the_middle_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", steps=40, side=200)
    (file,) = path.glob("*.mcap")
    data = bytearray(file.read_bytes())
    middle = 2 * len(data) // 3
    data[middle : middle + 100_000] = b"\xff" * 100_000
    file.write_bytes(data)
    source = BagSource([path])
    read = imported(source, tmp_path / "set")
    assert 5 < sum(len(episode) for episode in read) < 40
    assert "damaged" in str(source.report.groups())
    for step in range(5):
        np.testing.assert_allclose(read[0].actions[step, :6], bags.rows(40)[step, :6])


def test_a_message_that_is_not_what_its_type_says_is_left_out(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", storage="sqlite3")
    (file,) = path.glob("*.db3")
    with sqlite3.connect(file) as database:
        (topic,) = database.execute("SELECT id FROM topics WHERE name = '/action'").fetchone()
        (last,) = database.execute("SELECT max(id) FROM messages WHERE topic_id = ?", (topic,)).fetchone()
        database.execute("UPDATE messages SET data = x'000102030405060708' WHERE id = ?", (last,))
    source = BagSource([path])
    assert [len(episode) for episode in source] == [5]
    (group,) = source.report.groups()
    assert (group.reason, group.count) == ("unreadable message", 1)


def test_images_are_found_in_any_order(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", steps=60, side=100)
    with BagSource([path, record(tmp_path / "other", steps=5, side=30)]) as source:
        for step in [*range(0, 60, 7), *range(59, 0, -11), 3, 3]:
            np.testing.assert_array_equal(source[0].image("static", step), bags.picture(step, 100))
        np.testing.assert_array_equal(source[1].image("static", 4), bags.picture(4, 30))
        np.testing.assert_array_equal(source[0].image("static", 59), bags.picture(59, 100))


def test_contents_are_read_from_one_time_on(tmp_path: Path) -> None:
    with open_bag(record(tmp_path / "bag")) as bag:
        times = [message.time_ns for message in bag.messages(["/action"], bags.ns(0.36))]
        assert times == [bags.ns(i / 10 + 0.06) for i in (3, 4, 5)]
        assert list(bag.messages([])) == []


def test_a_gripper_whose_two_ends_are_equal_is_refused() -> None:
    with pytest.raises(ValueError, match=r"closed and open are both 1\.0"):
        GripperOptions(topic="/g", closed=1.0)
