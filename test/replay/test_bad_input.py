"""Bags that are damaged, odd, or lack something: said in one line, and replayed as far as is wanted."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import bags
import numpy as np
import pytest
from replaying import ARRIVAL, IMAGE, INSTRUCTION, PERIOD, SPOKEN, look, record, replayed, stamps
from rosbags.typesys import get_types_from_msg

from robovlms_ros.data.bag.file import BagError
from robovlms_ros.policy.null_policy import NullPolicy
from robovlms_ros.replay.errors import ReplayError
from robovlms_ros.replay.images import read_images
from robovlms_ros.replay.replay import ReplayOptions
from robovlms_ros.replay.result import ReplayResult

KEEP_GOING = ReplayOptions(keep_going=True)
HEAD = b"\x00\x01\x00\x00"
"""Of a little-endian CDR message."""


def refused(path: Path, policy: Any = None, options: ReplayOptions | None = None, **given: Any) -> str:
    """The one line with which a replay is refused."""
    with pytest.raises((ReplayError, BagError)) as error:
        replayed(path, policy, options, **given)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.fault(33)
@pytest.mark.parametrize(
    ("topics", "given", "named"),
    [
        ({"image": "/front"}, {}, "'/front'"),
        ({"instruction": "/words"}, {}, "'/words'"),
        ({}, {"state__source": "topics"}, "'tool_pose'; name its topic with --tool-pose"),
        ({"image": INSTRUCTION}, {}, "--image '/instruction' is of type std_msgs/msg/String"),
    ],
)
def test_a_topic_that_is_missing_is_named_with_what_the_bag_has(
    tmp_path: Path, topics: dict[str, str], given: dict[str, Any], named: str
) -> None:
    path = record(tmp_path / "bag")
    message = refused(path, options=ReplayOptions(topics=topics), **given)
    assert named in message
    assert f"{IMAGE} (6)" in message or topics == {"image": INSTRUCTION}


@pytest.mark.fault(33)
def test_a_bag_without_images_or_without_words_says_what_it_has(tmp_path: Path) -> None:
    assert "/instruction (1)" in refused(record(tmp_path / "dark", 0))
    message = refused(record(tmp_path / "silent", said=()))
    assert f"{IMAGE} (6)" in message
    assert "--instruction TEXT" in message


@pytest.mark.fault(33)
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_an_empty_bag_is_named_as_one(tmp_path: Path, storage: str) -> None:
    assert "the bag is empty" in refused(record(tmp_path / "bag", 0, storage, said=()))


@pytest.mark.fault(33)
def test_a_topic_without_messages_is_missing(tmp_path: Path) -> None:
    def advertised(writer: Any) -> None:
        writer.put("/front", bags.image(bags.picture(0), 0.0), 0.0)
        writer._connections["/empty"] = writer._writer.add_connection(
            "/empty", "sensor_msgs/msg/Image", typestore=bags.STORE
        )

    message = refused(
        record(tmp_path / "bag", extra=advertised), options=ReplayOptions(topics={"image": "/empty"})
    )
    assert "no message on '/empty'" in message
    assert "/front (1)" in message


def storage_file(path: Path) -> Path:
    (file,) = [*path.glob("*.mcap"), *path.glob("*.db3")]
    return file


def truncated(path: Path, share: float) -> Path:
    file = storage_file(path)
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    return path


@pytest.mark.fault(34)
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("whole_folder", [True, False])
def test_a_bag_that_was_cut_short_is_refused_or_replayed_as_far_as_it_goes(
    tmp_path: Path, storage: str, whole_folder: bool
) -> None:
    path = truncated(record(tmp_path / "bag", 30, storage, side=256), 0.6)  # several chunks of an mcap
    path = path if whole_folder else storage_file(path)
    message = refused(path)
    assert str(tmp_path / "bag") in message
    assert "--keep-going" in message
    result = replayed(path, options=KEEP_GOING)
    whole = replayed(record(tmp_path / "whole", 30, storage, side=256))
    assert 10 < len(result.actions) < 30
    assert list(result.actions) == list(whole.actions[: len(result.actions)])
    assert not result.bag.complete
    assert "damaged" in result.problems[0] or "cannot be read" in result.problems[0]
    assert len(dict(read_images(path, list(result.images())))) == len(result.inferences)


@pytest.mark.fault(34)
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_of_a_bag_of_which_nothing_is_left_nothing_is_replayed(tmp_path: Path, storage: str) -> None:
    path = truncated(record(tmp_path / "bag", storage=storage), 0.01)
    assert "--keep-going" in refused(path)
    assert str(path) in refused(path, options=KEEP_GOING)


@pytest.mark.fault(34)
def test_a_database_that_is_damaged_in_the_middle_gives_what_stands_around_it(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", 60, "sqlite3")
    file = storage_file(path)
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8192] = b"\xff" * 8192
    file.write_bytes(bytes(content))
    assert "--keep-going" in refused(path)
    result = replayed(path, options=ReplayOptions(keep_going=True, instruction=SPOKEN))
    assert result.problems
    assert 30 < len(result.actions) < 60


def test_a_database_that_lost_its_order_is_still_read_in_the_order_of_time(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", 6, "sqlite3")
    with sqlite3.connect(storage_file(path)) as database:
        rows = database.execute(
            "SELECT topic_id, timestamp, data FROM messages ORDER BY timestamp DESC"
        ).fetchall()
        database.execute("DELETE FROM messages")
        database.executemany("INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)", rows)
    assert stamps(replayed(path)) == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]


def test_a_bag_that_is_not_there_and_a_file_that_is_none(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "nothing", options=KEEP_GOING)
    (tmp_path / "letter.txt").write_text("Dear bag,")
    assert "letter.txt" in refused(tmp_path / "letter.txt", options=KEEP_GOING)
    (tmp_path / "empty").mkdir()
    assert "empty" in refused(tmp_path / "empty", options=KEEP_GOING)


def test_a_folder_without_metadata_is_replayed_where_that_is_wanted(tmp_path: Path) -> None:
    path = record(tmp_path / "bag")
    (path / "metadata.yaml").unlink()
    assert "metadata" in refused(path)
    result = replayed(path, options=KEEP_GOING)
    assert len(result.actions) == 6
    assert "its files are replayed without it" in result.problems[0]


def test_an_unknown_type_disturbs_only_where_it_is_asked_for(tmp_path: Path) -> None:
    bags.STORE.register(get_types_from_msg("float64 speed\n", "acme_msgs/msg/Wheel"))

    def wheels(writer: Any) -> None:
        writer.put("/wheel", bags.STORE.types["acme_msgs/msg/Wheel"](speed=1.0), 0.05)

    path = record(tmp_path / "bag", storage="sqlite3", extra=wheels)
    with sqlite3.connect(storage_file(path)) as database:  # as recorders of old did it
        database.execute("DELETE FROM message_definitions WHERE topic_type = 'acme_msgs/msg/Wheel'")
    assert len(replayed(path).actions) == 6
    message = refused(path, options=ReplayOptions(topics={"image": "/wheel"}))
    assert "acme_msgs/msg/Wheel" in message
    assert "sensor_msgs/msg/Image" in message


def damage(path: Path, topic: str, number: int, data: bytes) -> Path:
    with sqlite3.connect(storage_file(path)) as database:
        (topic_id,) = database.execute("SELECT id FROM topics WHERE name = ?", (topic,)).fetchone()
        found = database.execute("SELECT id FROM messages WHERE topic_id = ? ORDER BY timestamp", (topic_id,))
        row = found.fetchall()[number]
        database.execute("UPDATE messages SET data = ? WHERE id = ?", (data, *row))
    return path


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"\x00\x01\x00\x00\xff\xff\xff\xff", b"\x00\x01\x00\x00" + b"\xff" * 60]
)
def test_a_message_that_is_none_of_its_type_is_left_out_where_that_is_wanted(tmp_path: Path, data: bytes) -> None:
    path = damage(record(tmp_path / "bag", storage="sqlite3"), IMAGE, 2, data)
    message = refused(path)
    assert f"message 2 on {IMAGE} (0.260 s into the bag) cannot be read" in message
    result = replayed(path, options=KEEP_GOING)
    assert stamps(result) == [0.0, 0.1, 0.3, 0.4, 0.5]
    assert [(event.kind, event.number) for event in result.events if event.number is not None] == [
        ("unreadable message", 2)
    ]


def test_a_corrupt_jpeg_is_named_and_the_others_are_answered(tmp_path: Path) -> None:
    def corrupt(writer: Any) -> None:
        topic = f"{IMAGE}/compressed"
        for i in range(6):
            message = bags.compressed(bags.picture(i), i * PERIOD, "jpeg", cut=90 if i == 3 else None)
            writer.put(topic, message, i * PERIOD + ARRIVAL)

    path = record(tmp_path / "bag", 0, extra=corrupt)
    message = refused(path)
    assert f"undecodable image (image 3 on {IMAGE}/compressed)" in message
    result = replayed(path, options=KEEP_GOING)
    assert stamps(result) == [0.0, 0.1, 0.2, 0.4, 0.5]
    assert result.inferences[3].outcome == "undecodable image"
    assert result.counts == {"undecodable image": 1}


def test_stamps_that_repeat_or_go_back_are_dropped_as_by_the_node_and_noted(tmp_path: Path) -> None:
    def odd(writer: Any) -> None:
        for at, stamp in ((0.01, 0.0), (0.11, 0.1), (0.21, 0.1), (0.31, 0.05), (0.41, 0.4), (0.51, 1.4)):
            writer.put(IMAGE, bags.image(bags.picture(1), stamp), at)

    result = replayed(record(tmp_path / "bag", 0, extra=odd))
    assert stamps(result) == [0.0, 0.1, 0.4]
    dropped = [(event.number, event.detail) for event in result.events if event.kind == "dropped image"]
    assert dropped == [(2, "duplicate stamp"), (3, "backward stamp"), (5, "future stamp")]
    assert not result.problems
    assert f"image 2 on {IMAGE} (0.260 s into the bag) is dropped: duplicate stamp" in result.notices


def test_images_without_a_stamp_count_from_their_arrival(tmp_path: Path) -> None:
    def unstamped(writer: Any) -> None:
        for i in range(3):
            image = bags.image(bags.picture(i), 0.0)
            image.header.stamp.sec = image.header.stamp.nanosec = 0
            writer.put(IMAGE, image, i * PERIOD)

    result = replayed(record(tmp_path / "bag", 0, extra=unstamped))
    assert stamps(result) == [0.0, 0.1, 0.2]
    (notice,) = result.notices
    assert notice.startswith(f"images on {IMAGE} carry no stamp")


def test_messages_that_were_received_out_of_order_do_not_turn_the_clock_back(tmp_path: Path) -> None:
    """Two files of a bag that overlap in time: rosbag2 plays one after the other."""
    first = record(tmp_path / "bag", 4)
    second = record(
        tmp_path / "second", 0, said=(), extra=lambda writer: [look(writer, i, i / 10) for i in (2, 4)]
    )
    shutil.copy(storage_file(second), first / "bag_1.mcap")
    metadata = (first / "metadata.yaml").read_text()
    (first / "metadata.yaml").write_text(metadata.replace("- bag.mcap\n", "- bag.mcap\n  - bag_1.mcap\n", 1))
    result = replayed(first)
    times = [action.time_ns for action in result.actions]
    assert times == sorted(times)
    assert stamps(result) == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert "was received before one that stands before it in the bag" in result.notices[0]


def test_images_that_change_their_size_half_way_are_replayed_and_noted(tmp_path: Path) -> None:
    def smaller(writer: Any) -> None:
        for i in range(6, 9):
            look(writer, i, i * PERIOD, side=4)

    result = replayed(record(tmp_path / "bag", extra=smaller))
    assert len(result.actions) == 9
    assert result.notices == (
        f"images on {IMAGE} change their size from 10x8 to 6x4 with number 6 (0.660 s into the bag)",
    )


def test_a_model_that_needs_a_camera_which_the_bag_lacks(tmp_path: Path) -> None:
    path, policy = record(tmp_path / "bag"), NullPolicy(cameras=("static", "hand"))
    message = refused(path, policy)
    assert "hand camera" in message
    assert f"{IMAGE} (6)" in message
    result = replayed(path, policy, KEEP_GOING)
    assert len(result.actions) == 6
    assert "hand camera" in result.problems[0]
    assert result.options.parameters["images.hand.enabled"] is False


def test_a_clock_that_leaps_does_not_keep_the_replay_busy_for_years(tmp_path: Path) -> None:
    def leap(writer: Any) -> None:
        look(writer, 9, 4e8)  # twelve years later

    path = record(tmp_path / "bag", 3, extra=leap)
    assert "the bag pauses for 400000000 s" in refused(path, watchdog__timeout=0.0)
    result = replayed(path, options=KEEP_GOING, watchdog__timeout=0.0)
    assert len(result.actions) == 4


@pytest.mark.fault(34)
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_damage_of_any_kind_is_told_in_one_line_and_never_a_crash(tmp_path: Path, storage: str) -> None:
    source = record(tmp_path / "whole", 4, storage, side=32)
    told: list[str] = []
    for seed in range(5):
        random = np.random.default_rng(seed)
        path = tmp_path / str(seed)
        shutil.copytree(source, path)
        file = path / "metadata.yaml" if seed == 0 else storage_file(path)
        content = np.frombuffer(file.read_bytes(), np.uint8).copy()
        content[random.integers(0, len(content), 3**seed)] = random.integers(0, 256, 3**seed)
        file.write_bytes(content.tobytes())
        for keep_going in (False, True):
            try:
                replayed(path, options=ReplayOptions(keep_going=keep_going))
            except (ReplayError, BagError) as error:
                told.append(str(error))
    assert told
    assert not [message for message in told if "\n" in message]


def test_a_camera_that_stops_before_the_bag_does_is_stopped_by_the_watchdog(tmp_path: Path) -> None:
    def other(writer: Any) -> None:
        writer.put("/log", bags.text("still here"), 5.0)

    options = ReplayOptions(topics={"instruction": INSTRUCTION})
    result = replayed(record(tmp_path / "bag", extra=other), options=options)
    assert [action.stop for action in result.actions] == [False] * 6 + [True]


def test_a_recorded_action_that_is_none_is_left_out(tmp_path: Path) -> None:
    def acted(writer: Any) -> None:
        row = np.zeros(7)
        writer.put("/action", bags.action(row, 0.0), 0.05)
        row[0] = np.nan
        writer.put("/action", bags.action(row, 0.1), 0.15)

    result: ReplayResult = replayed(record(tmp_path / "bag", extra=acted), options=KEEP_GOING)
    assert len(result.recorded) == 1
    assert "message 1 on /action" in result.problems[0]
    assert {action.instruction for action in result.actions} == {SPOKEN}
