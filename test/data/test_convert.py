"""What a conversion leaves out, and that it keeps the rest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from robovlms_ros.data.convert import convert
from robovlms_ros.data.episodes import ArrayEpisode, Episode, MemorySource
from robovlms_ros.data.errors import DataError
from robovlms_ros.data.folder.format import ImageFormat, Origin
from robovlms_ros.data.folder.reader import open_dataset
from robovlms_ros.data.images import encode
from robovlms_ros.data.recorded import NOT_FINITE, RecordedEpisode, faults_of
from robovlms_ros.data.report import DropReport

ORIGIN = Origin(importer="test", path="memory")
PNG = ImageFormat(encoding="png")


def recorded(whole: ArrayEpisode, corrupt: dict[int, str] | None = None, **changes: object) -> RecordedEpisode:
    """``whole`` as a reader gives it, with the images of the steps ``corrupt`` cut short."""

    def read(camera: str, step: int) -> bytes:
        file = encode(whole.image(camera, step), "png")
        return file[:60] if (corrupt or {}).get(step) == camera else file

    content = {
        "identifier": whole.identifier,
        "instruction": whole.instruction,
        "step_duration": whole.step_duration,
        "actions": whole.actions,
        "cameras": whole.cameras,
        "read_image": read,
        "states": whole.states,
    }
    return RecordedEpisode(**{**content, **changes})  # type: ignore[arg-type]


def test_a_corrupt_image_divides_its_episode_and_is_reported(
    make_episode: Callable[..., ArrayEpisode], tmp_path: Path
) -> None:
    whole = make_episode(3, steps=9)
    episode: Episode = recorded(whole, {0: "static", 4: "hand", 5: "static"})
    info = convert(MemorySource("one", [episode]), tmp_path / "set", ORIGIN, images=PNG)
    read = open_dataset(tmp_path / "set")
    assert [(row.identifier, row.steps, row.last_part) for row in read.rows] == [
        ("e3", 3, False),
        ("e3.1", 3, True),
    ]
    for episode, first in zip(read, (1, 6), strict=True):
        np.testing.assert_array_equal(episode.actions, whole.actions[first : first + 3])
        assert whole.states is not None
        np.testing.assert_array_equal(episode.states, whole.states[first : first + 3])
        for step in range(3):
            np.testing.assert_array_equal(episode.image("hand", step), whole.image("hand", first + step))
    groups = {group.reason: group for group in info.dropped}
    assert groups["unusable image of camera static"].count == 2
    (example,) = groups["unusable image of camera hand"].examples
    assert example.startswith("episode e3, step 4: corrupt or not JPEG or PNG (60 bytes)")
    assert json.loads((tmp_path / "set" / "dataset.json").read_text())["dropped"][0]["count"] == 2


def test_an_action_that_is_nan_divides_its_episode(
    make_episode: Callable[..., ArrayEpisode], tmp_path: Path
) -> None:
    whole = make_episode(1, steps=6)
    actions = whole.actions.copy()
    actions[2, 4] = np.nan
    broken = recorded(whole, actions=actions, faults=faults_of(actions, whole.states))
    info = convert(MemorySource("one", [make_episode(0), broken]), tmp_path / "set", ORIGIN)
    assert [len(episode) for episode in open_dataset(tmp_path / "set")] == [5, 2, 3]
    (group,) = info.dropped
    assert (group.reason, group.count, group.examples) == (NOT_FINITE, 1, ["episode e1, step 2"])


def test_an_episode_that_cannot_be_read_leaves_the_others(
    make_episode: Callable[..., ArrayEpisode], tmp_path: Path
) -> None:
    class Source(MemorySource):
        def __getitem__(self, index: int) -> Episode:
            if index in (0, 2):
                raise DataError(f"file {index} is cut short")
            return super().__getitem__(index)

    source = Source("some", [make_episode(number) for number in range(4)])
    report = DropReport()
    report.add("gap in time", "step", "e1", 7)
    info = convert(source, tmp_path / "set", ORIGIN, report=report)
    assert [row.identifier for row in open_dataset(tmp_path / "set").rows] == ["e1", "e3"]
    assert {group.reason: group.examples for group in info.dropped} == {
        "unreadable episode": ["episode 0: file 0 is cut short", "episode 2: file 2 is cut short"],
        "gap in time": ["episode e1, step 7"],
    }


def test_episodes_without_a_camera_of_the_others_are_dropped(
    make_episode: Callable[..., ArrayEpisode], tmp_path: Path
) -> None:
    only_static = make_episode(5)
    only_static = ArrayEpisode(
        "e5", "x", 0.1, only_static.actions, {"static": only_static.images["static"]}, only_static.states
    )
    info = convert(MemorySource("two", [make_episode(0), only_static]), tmp_path / "set", ORIGIN)
    assert info.episodes == 1
    assert [(group.reason, group.unit) for group in info.dropped] == [("no camera hand", "episode")]


def test_what_was_dropped_before_an_interruption_is_in_the_final_report(
    make_episode: Callable[..., ArrayEpisode], tmp_path: Path
) -> None:
    episodes = [recorded(make_episode(number), {number: "static"}) for number in range(3)]
    source = MemorySource("three", episodes)

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / "set", ORIGIN, progress=stop)
    info = convert(source, tmp_path / "set", ORIGIN)
    assert [group.count for group in info.dropped] == [3]


def test_recorded_files_are_kept_as_they_are_unless_told_otherwise(
    make_episode: Callable[..., ArrayEpisode], tmp_path: Path
) -> None:
    whole = make_episode(0)
    source = MemorySource("one", [recorded(whole)])
    convert(source, tmp_path / "kept", ORIGIN)
    assert open_dataset(tmp_path / "kept")[0].encoded("static", 1) == encode(whole.image("static", 1), "png")
    convert(source, tmp_path / "jpeg", ORIGIN, images=ImageFormat(keep_recorded=False))
    assert open_dataset(tmp_path / "jpeg")[0].encoded("static", 1).startswith(b"\xff\xd8")


def test_a_long_episode_is_divided_before_its_images_fill_the_memory(
    make_episode: Callable[..., ArrayEpisode], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_episode(2, steps=20)
    monkeypatch.setattr("robovlms_ros.data.convert.PART_BYTES", 7 * len(encode(whole.image("static", 0), "png")))
    convert(MemorySource("one", [whole, make_episode(0)]), tmp_path / "set", ORIGIN, images=PNG)
    read = open_dataset(tmp_path / "set")
    parts = [row for row in read.rows if row.source == 0]
    assert len(parts) > 2
    assert [row.last_part for row in parts] == [False] * (len(parts) - 1) + [True]
    np.testing.assert_array_equal(np.concatenate([read[i].actions for i in range(len(parts))]), whole.actions)
    np.testing.assert_array_equal(read[1].image("hand", 0), whole.image("hand", parts[0].steps))


def test_faults_behind_the_last_part_survive_an_interruption(
    make_episode: Callable[..., ArrayEpisode], tmp_path: Path
) -> None:
    episodes = [recorded(make_episode(0), dict.fromkeys([2, 3, 4], "static")), make_episode(1)]

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(MemorySource("two", episodes), tmp_path / "set", ORIGIN, progress=stop)
    info = convert(MemorySource("two", episodes), tmp_path / "set", ORIGIN)
    (group,) = info.dropped
    assert group.count == 3
    assert group.examples[0].startswith("episode e0, steps 2 to 4: corrupt")
