"""LeRobot datasets of both layouts, written by the test with pyarrow and PyAV."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lerobot_folder
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from robovlms_ros.data.convert import convert
from robovlms_ros.data.errors import DataError
from robovlms_ros.data.folder.format import ImageFormat, Origin
from robovlms_ros.data.folder.reader import FolderSource, open_dataset
from robovlms_ros.data.lerobot.mapping import Mapping
from robovlms_ros.data.lerobot.source import LeRobotSource
from robovlms_ros.data.recorded import NOT_FINITE

FRONT, WRIST = "observation.images.front", "observation.images.wrist"
LENGTHS = (14, 11, 9)


def mapping(**changes: Any) -> Mapping:
    columns = {"translation": [0, 1, 2], "rotation": [3, 4, 5], "rotation_format": "rpy", "gripper": 6}
    content = {
        "cameras": {"static": FRONT},
        "action": {"key": "action", "kind": "delta", **columns},
        "state": {"key": "observation.state", **columns},
        "frame": "base_link",
    }
    return Mapping.model_validate({**content, **changes})


def episodes() -> list[lerobot_folder.Recorded]:
    return [lerobot_folder.recorded(number, steps) for number, steps in enumerate(LENGTHS)]


def imported(root: Path, out: Path, chosen: Mapping | None = None) -> FolderSource:
    with LeRobotSource(root, chosen or mapping()) as source:
        convert(source, out, Origin(importer="lerobot", path="x"), images=ImageFormat(encoding="png"))
    return open_dataset(out)


@pytest.mark.parametrize("version", ["v2.0", "v2.1", "v3.0"])
@pytest.mark.parametrize("stored", [False, True], ids=["video", "image"])
def test_every_number_and_frame_comes_back(tmp_path: Path, version: str, stored: bool) -> None:
    given = episodes()
    root = lerobot_folder.write(
        tmp_path / "lab_arm", given, version=version, cameras=(FRONT, WRIST), stored=stored
    )
    read = imported(root, tmp_path / "set", mapping(cameras={"static": FRONT, "hand": WRIST}))
    assert (read.name, read.frame, read.rotation_format, len(read)) == ("lab_arm", "base_link", "rpy", 3)
    for number, episode in enumerate(read):
        assert (episode.identifier, episode.instruction) == (str(number), f"task {number % 2}")
        assert episode.step_duration == 1 / lerobot_folder.FPS
        np.testing.assert_array_equal(episode.actions, given[number].actions.astype(np.float64))
        np.testing.assert_array_equal(episode.states, given[number].states.astype(np.float64))
        for step in range(len(episode)):
            for place, camera in enumerate(("static", "hand")):
                image = episode.image(camera, step).astype(int)
                # Neighbouring frames differ by 6.
                assert np.abs(image - lerobot_folder.grey(number, step, place)).max() <= (0 if stored else 2)
        assert episode.stamps is not None
        np.testing.assert_allclose(np.diff(episode.stamps), 1e8, atol=100)
    assert read.info.dropped == ()


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_frames_are_found_in_any_order(tmp_path: Path, version: str) -> None:
    root = lerobot_folder.write(tmp_path / "d", episodes(), version=version)
    with LeRobotSource(root, mapping()) as source:
        for number, step in [(1, 10), (0, 3), (1, 0), (1, 7), (1, 6), (2, 8), (0, 13), (0, 13), (1, 9)]:
            image = source[number].image("static", step).astype(int)
            assert np.abs(image - lerobot_folder.grey(number, step)).max() <= 2


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_an_episode_of_several_tasks_becomes_several(tmp_path: Path, version: str) -> None:
    one = lerobot_folder.recorded(0, 9)
    one.tasks = ["reach"] * 4 + ["grasp"] * 5
    root = lerobot_folder.write(tmp_path / "d", [one, lerobot_folder.recorded(1, 4)], version=version)
    read = imported(root, tmp_path / "set")
    assert [(e.identifier, e.instruction, len(e)) for e in read] == [
        ("0", "reach", 4),
        ("0@4", "grasp", 5),
        ("1", "task 1", 4),
    ]
    np.testing.assert_array_equal(read[1].actions, one.actions[4:].astype(np.float64))
    assert abs(int(read[1].image("static", 0)[0, 0, 0]) - lerobot_folder.grey(0, 4)) <= 2


def test_a_nan_costs_its_step_alone(tmp_path: Path) -> None:
    one = lerobot_folder.recorded(0, 9)
    one.actions[4, 2] = np.nan
    read = imported(lerobot_folder.write(tmp_path / "d", [one]), tmp_path / "set")
    assert [len(episode) for episode in read] == [4, 4]
    assert [(group.reason, group.count) for group in read.info.dropped] == [(NOT_FINITE, 1)]


class TestDamage:
    """Of a dataset with a damaged file the rest is kept."""

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        return lerobot_folder.write(tmp_path / "d", episodes())

    @pytest.mark.parametrize("damage", ["missing", "empty", "cut short"])
    def test_a_bad_video_costs_its_frames(self, root: Path, tmp_path: Path, damage: str) -> None:
        video = root / "videos" / "chunk-000" / FRONT / "episode_000001.mp4"
        data = video.read_bytes()
        if damage == "missing":
            video.unlink()
        else:
            video.write_bytes(data[: len(data) // 2] if damage == "cut short" else b"")
        read = imported(root, tmp_path / "set")
        assert [row.identifier for row in read.rows] == ["0", "2"]
        (group,) = read.info.dropped
        assert (group.reason, group.count) == ("unusable image of camera static", LENGTHS[1])
        assert "episode_000001.mp4" in group.examples[0]

    def test_a_video_with_too_few_frames_keeps_those_it_has(self, root: Path, tmp_path: Path) -> None:
        video = root / "videos" / "chunk-000" / FRONT / "episode_000001.mp4"
        lerobot_folder.write_video(video, [lerobot_folder.picture(1, step) for step in range(8)])
        read = imported(root, tmp_path / "set")
        assert [len(episode) for episode in read] == [14, 8, 9]
        assert "no frame at 0.800 s: the nearest is at 0.700 s" in read.info.dropped[0].examples[0]

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            ("missing", "episode_000001.parquet cannot be read"),
            ("cut short", "episode_000001.parquet cannot be read"),
            ("rows", "8 rows are in episode_000001.parquet, 11 are listed"),
            ("gap", "frames are missing in episode_000001.parquet"),
            ("column", "episode_000001.parquet has no column timestamp"),
            ("action", "'action' is not the same count of numbers in each row"),
        ],
    )
    def test_a_bad_table_costs_its_episode(self, root: Path, tmp_path: Path, damage: str, message: str) -> None:
        path = root / "data" / "chunk-000" / "episode_000001.parquet"
        table = pq.read_table(path, partitioning=None)
        if damage == "missing":
            path.unlink()
        elif damage == "cut short":
            path.write_bytes(path.read_bytes()[:-50])
        elif damage == "rows":
            pq.write_table(table.slice(0, 8), path)
        elif damage == "gap":
            frames = pa.array([*range(10), 11])
            pq.write_table(table.set_column(table.column_names.index("frame_index"), "frame_index", frames), path)
        elif damage == "column":
            pq.write_table(table.drop_columns(["timestamp"]), path)
        else:
            ragged = pa.array([*table["action"].to_pylist()[:-1], [1.0]], pa.list_(pa.float32()))
            pq.write_table(table.set_column(table.column_names.index("action"), "action", ragged), path)
        read = imported(root, tmp_path / "set")
        assert [row.identifier for row in read.rows] == ["0", "2"]
        (group,) = read.info.dropped
        assert (group.reason, group.count) == ("unreadable episode", 1)
        assert message in group.examples[0]

    def test_images_that_are_paths_are_not_followed(self, tmp_path: Path) -> None:
        root = lerobot_folder.write(tmp_path / "s", episodes()[:1], stored=True)
        path = root / "data" / "chunk-000" / "episode_000000.parquet"
        table = pq.read_table(path, partitioning=None)
        paths = pa.array([{"bytes": None, "path": "/etc/passwd"}] * LENGTHS[0])
        pq.write_table(table.set_column(table.column_names.index(FRONT), FRONT, paths), path)
        with pytest.raises(DataError, match=r"no episode is left: unusable image of camera static \(14 steps\)"):
            imported(root, tmp_path / "set")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codebase_version": "v1.6"}, "has version v1.6; versions 2.0, 2.1 and 3.0"),
        ({"fps": 0}, r"info.json: fps"),
        ({"features": None}, r"info.json: features"),
        ({"data_path": "../../{episode_index}.parquet"}, "is not below the dataset"),
        ({"data_path": "/data/{episode_index}.parquet"}, "is not below the dataset"),
        ({"data_path": "{episode_index.__class__}"}, "episode_000000|unreadable|cannot be read|rows"),
        ({"data_path": "{surprise}.parquet"}, r"unknown place \{surprise\}"),
    ],
)
def test_a_description_that_cannot_be_right_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    root = lerobot_folder.write(tmp_path / "d", episodes()[:1])
    path = root / "meta" / "info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DataError, match=message):
        _ = LeRobotSource(root, mapping())[0]


def test_a_table_of_episodes_that_is_damaged_is_named(tmp_path: Path) -> None:
    root = lerobot_folder.write(tmp_path / "d", episodes()[:1], version="v3.0")
    path = root / "meta" / "episodes" / "chunk-000" / "file-000.parquet"
    path.write_bytes(path.read_bytes().replace(b"episode_index", b"episode_ind\xaax"))
    with pytest.raises(DataError, match=r"file-000\.parquet cannot be read"):
        LeRobotSource(root, mapping())


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("info.json", None, "is no LeRobot dataset: it has no meta/info.json"),
        ("info.json", "{", "info.json"),
        ("episodes.jsonl", None, "episodes.jsonl cannot be read"),
        ("episodes.jsonl", '{"episode_index": 0}\n', r"episodes.jsonl line 1: it needs episode_index and length"),
        ("episodes.jsonl", "", "has no episodes"),
        ("tasks.jsonl", "nonsense\n", "tasks.jsonl line 1"),
    ],
)
def test_metadata_that_is_missing_or_damaged_is_named(
    tmp_path: Path, file: str, content: str | None, message: str
) -> None:
    root = lerobot_folder.write(tmp_path / "d", episodes()[:1])
    path = root / "meta" / file
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(DataError, match=message):
        LeRobotSource(root, mapping())
