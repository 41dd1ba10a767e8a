"""What is written to a dataset folder is read back."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robovlms_ros.data.convert import convert
from robovlms_ros.data.episodes import ArrayEpisode, Episode, EpisodeSource, MemorySource
from robovlms_ros.data.errors import DataError
from robovlms_ros.data.folder.format import ImageFormat, Origin
from robovlms_ros.data.folder.reader import open_dataset

ORIGIN = Origin(importer="test", path="memory")
PNG = ImageFormat(encoding="png")


def assert_same(read: Episode, given: Episode) -> None:
    assert (read.identifier, read.instruction, read.step_duration, len(read)) == (
        given.identifier,
        given.instruction,
        given.step_duration,
        len(given),
    )
    np.testing.assert_array_equal(read.actions, given.actions)
    if given.states is None:
        assert read.states is None
    else:
        assert read.states is not None
        np.testing.assert_array_equal(read.states, given.states)
    for camera in given.cameras:
        for step in range(len(given)):
            np.testing.assert_array_equal(read.image(camera, step), given.image(camera, step))


@pytest.mark.parametrize("shard_bytes", [1, 10_000, 10**9])
def test_everything_comes_back_from_png(source: MemorySource, tmp_path: Path, shard_bytes: int) -> None:
    info = convert(source, tmp_path / "set", ORIGIN, images=PNG, shard_bytes=shard_bytes)
    assert (info.episodes, info.steps, info.complete, info.dropped) == (4, 20, True, ())
    read: EpisodeSource = open_dataset(tmp_path / "set")
    assert (len(read), read.rotation_format, read.frame, read.name) == (4, "axis_angle", "world", "made")
    for index in range(4):
        assert_same(read[index], source[index])
    shards = len(list((tmp_path / "set" / "shards").iterdir()))
    assert shards == (4 if shard_bytes == 1 else shards)
    assert shards == (1 if shard_bytes == 10**9 else shards)


@settings(max_examples=15, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    text=st.text(max_size=30),
    states=st.booleans(),
)
def test_any_lengths_and_any_instruction_come_back(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], text: str, states: bool
) -> None:
    # What UTF-8 cannot say is in no file that a robot wrote.
    text = text.encode("utf-8", "ignore").decode()
    random = np.random.default_rng(0)
    episodes = [
        ArrayEpisode(
            str(number),
            text,
            0.05,
            random.uniform(0, 1, (length, 7)),
            {"static": random.integers(0, 256, (length, 3, 5, 3), dtype=np.uint8)},
            random.uniform(0, 1, (length, 7)) if states else None,
        )
        for number, length in enumerate(lengths)
    ]
    folder = tmp_path_factory.mktemp("any") / "set"
    convert(MemorySource("any", episodes), folder, ORIGIN, images=PNG)
    read = open_dataset(folder)
    assert len(read) == len(episodes)
    for index, episode in enumerate(episodes):
        assert_same(read[index], episode)


def test_a_dataset_converted_again_keeps_its_files_byte_for_byte(source: MemorySource, tmp_path: Path) -> None:
    convert(source, tmp_path / "one", ORIGIN)
    one = open_dataset(tmp_path / "one")
    convert(one, tmp_path / "two", ORIGIN)
    two = open_dataset(tmp_path / "two")
    assert two[2].encoded("hand", 3) == one[2].encoded("hand", 3)


def test_images_are_resized_on_request(source: MemorySource, tmp_path: Path) -> None:
    convert(source, tmp_path / "set", ORIGIN, images=ImageFormat(resize=10))
    assert open_dataset(tmp_path / "set")[0].image("static", 0).shape == (10, 10, 3)


def test_one_camera_can_be_kept(source: MemorySource, tmp_path: Path) -> None:
    convert(source, tmp_path / "set", ORIGIN, cameras=["hand"])
    episode = open_dataset(tmp_path / "set")[0]
    assert episode.cameras == ("hand",)
    with pytest.raises(KeyError):
        episode.image("static", 0)
    with pytest.raises(IndexError):
        episode.image("hand", 5)


def test_any_arrow_tool_reads_a_shard(source: MemorySource, tmp_path: Path) -> None:
    convert(source, tmp_path / "set", ORIGIN)
    table = pa.ipc.open_file(tmp_path / "set" / "shards" / "000000.arrow").read_all()
    assert table.num_rows == 20
    assert table.column_names == ["images.static", "images.hand", "actions", "states", "stamps"]


def test_a_source_survives_being_sent_to_a_worker_process(source: MemorySource, tmp_path: Path) -> None:
    convert(source, tmp_path / "set", ORIGIN, images=PNG)
    here = open_dataset(tmp_path / "set")
    assert here[1].actions is not None
    episode = here[1]
    assert episode.image("static", 0) is not None
    sent = pickle.dumps((here, episode))
    assert len(sent) < 10_000
    there, there_episode = pickle.loads(sent)
    assert_same(there[1], source[1])
    assert_same(there_episode, source[1])


def test_memory_is_given_back_and_views_stay_valid(source: MemorySource, tmp_path: Path) -> None:
    convert(source, tmp_path / "set", ORIGIN, images=PNG)
    read = open_dataset(tmp_path / "set")
    episode = read[0]
    actions = episode.actions
    read.count_read(2**40)
    np.testing.assert_array_equal(actions, source[0].actions)
    np.testing.assert_array_equal(episode.image("static", 4), source[0].image("static", 4))


class TestBadFolders:
    @pytest.fixture
    def folder(self, source: MemorySource, tmp_path: Path) -> Path:
        convert(source, tmp_path / "set", ORIGIN, shard_bytes=1)
        return tmp_path / "set"

    def test_what_is_no_dataset_says_how_to_make_one(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"no dataset folder.*robovlms import-bag"):
            open_dataset(tmp_path)

    def test_a_newer_format_asks_for_an_update(self, folder: Path) -> None:
        self.change(folder, format=2)
        with pytest.raises(DataError, match="format 2, this version reads up to 1; update"):
            open_dataset(folder)

    @pytest.mark.parametrize(("key", "value"), [("step_duration", -1), ("frame", ""), ("surprise", 1)])
    def test_a_wrong_key_is_named(self, folder: Path, key: str, value: object) -> None:
        self.change(folder, **{key: value})
        with pytest.raises(DataError, match=f"dataset.json: {key}"):
            open_dataset(folder)

    def test_a_damaged_list_names_the_line(self, folder: Path) -> None:
        lines = (folder / "episodes.jsonl").read_text().splitlines()
        (folder / "episodes.jsonl").write_text("\n".join([lines[0], lines[1][:40], lines[2]]) + "\n")
        with pytest.raises(DataError, match=r"episodes\.jsonl line 2"):
            open_dataset(folder)

    def test_a_shard_that_is_cut_short_is_named(self, folder: Path) -> None:
        shard = folder / "shards" / "000002.arrow"
        shard.write_bytes(shard.read_bytes()[:-20])
        with pytest.raises(DataError, match=r"000002\.arrow is cut short"):
            open_dataset(folder)

    def test_a_shard_that_is_missing_is_named(self, folder: Path) -> None:
        (folder / "shards" / "000002.arrow").unlink()
        with pytest.raises(DataError, match=r"000002\.arrow cannot be read"):
            open_dataset(folder)

    def test_shards_of_another_dataset_are_noticed(
        self, folder: Path, tmp_path: Path, make_episode: Callable[..., ArrayEpisode]
    ) -> None:
        convert(MemorySource("other", [make_episode(9, steps=3)]), tmp_path / "other", ORIGIN)
        (tmp_path / "other" / "shards" / "000000.arrow").replace(folder / "shards" / "000000.arrow")
        with pytest.raises(DataError, match="episode e0: 3 steps are stored, 5 are listed"):
            _ = open_dataset(folder)[0].actions

    def test_an_image_damaged_on_disk_names_episode_and_step(self, folder: Path) -> None:
        shard = folder / "shards" / "000001.arrow"
        data = shard.read_bytes()
        image = open_dataset(folder)[1].encoded("hand", 3)
        start = data.index(image)
        shard.write_bytes(data[:start] + b"\0" * len(image) + data[start + len(image) :])
        with pytest.raises(DataError, match="made, episode e1, step 3, camera hand: corrupt"):
            open_dataset(folder)[1].image("hand", 3)

    def test_offsets_that_point_out_of_the_file_are_not_followed(self, folder: Path) -> None:
        """Arrow would end the process in an attempt to find the memory."""
        shard = folder / "shards" / "000001.arrow"
        episode = open_dataset(folder)[1]
        ends = np.cumsum([0, *(len(episode.encoded("hand", step)) for step in range(5))])
        offsets, data = ends.astype("<i8").tobytes(), shard.read_bytes()
        assert data.count(offsets) == 1
        ends[-1] = 2**45
        shard.write_bytes(data.replace(offsets, ends.astype("<i8").tobytes()))
        with pytest.raises(DataError, match=r"000001\.arrow, batch 0: .*out of bounds"):
            open_dataset(folder)[1].image("hand", 4)

    @staticmethod
    def change(folder: Path, **changes: object) -> None:
        path = folder / "dataset.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
