"""An import that is interrupted keeps its complete episodes, can be read, and goes on."""

from __future__ import annotations

import errno
import io
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from robovlms_ros.data.convert import convert
from robovlms_ros.data.episodes import ArrayEpisode, MemorySource
from robovlms_ros.data.errors import DataError
from robovlms_ros.data.folder.batches import StoredEpisode
from robovlms_ros.data.folder.format import DatasetInfo, ImageFormat, Origin
from robovlms_ros.data.folder.reader import FolderSource, open_dataset
from robovlms_ros.data.folder.writer import DatasetWriter

ORIGIN = Origin(importer="test", path="memory")
INFO = DatasetInfo(
    name="made",
    cameras=("static", "hand"),
    rotation_format="axis_angle",
    frame="world",
    step_duration=0.1,
    images=ImageFormat(encoding="png"),
    origin=ORIGIN,
)


def stored(number: int, steps: int = 5, parts: int = 1) -> list[StoredEpisode]:
    return [
        StoredEpisode(
            f"e{number}.{part}",
            "go",
            0.1,
            np.full((steps, 7), 0.5),
            {camera: [bytes([number]) * 1000] * steps for camera in ("static", "hand")},
        )
        for part in range(parts)
    ]


def add(writer: DatasetWriter, source: int, parts: list[StoredEpisode]) -> None:
    for part in parts:
        writer.add(source, part, last=part is parts[-1])


def listed(folder: Path) -> list[str]:
    return [row.identifier for row in FolderSource(folder).rows]


def test_after_an_exception_the_complete_episodes_are_there_and_the_next_run_goes_on(
    source: MemorySource, tmp_path: Path
) -> None:
    def stop_after_two(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / "set", ORIGIN, progress=stop_after_two)
    partial = open_dataset(tmp_path / "set")
    assert (len(partial), partial.info.complete) == (2, False)

    seen: list[int] = []
    info = convert(source, tmp_path / "set", ORIGIN, progress=lambda done, total: seen.append(done))
    assert seen == [3, 4]
    assert (info.episodes, info.complete) == (4, True)
    np.testing.assert_array_equal(open_dataset(tmp_path / "set")[3].actions, source[3].actions)


def test_what_a_killed_import_had_written_of_its_shard_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    program = f"""
import sys, time
sys.path[:0] = {[str(Path(__file__).parent)]!r}
import test_interrupted as t
from pathlib import Path
writer = t.DatasetWriter(Path({str(folder)!r}), t.INFO)
for number in range(3):
    t.add(writer, number, t.stored(number, parts=2))
print("written", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
    assert listed(folder) == []
    with DatasetWriter(folder, INFO) as writer:
        assert (writer.next_source, writer.episodes) == (3, 6)
        add(writer, 3, stored(3))
        writer.finish()
    assert listed(folder) == ["e0.0", "e0.1", "e1.0", "e1.1", "e2.0", "e2.1", "e3.0"]
    assert open_dataset(folder)[4].encoded("hand", 1) == bytes([2]) * 1000
    assert [path.name for path in sorted((folder / "shards").iterdir())] == ["000000.arrow", "000001.arrow"]


@pytest.mark.parametrize("cut", [1, 500, 3_000, 12_000, 25_000])
def test_wherever_a_shard_breaks_off_its_whole_source_episodes_are_kept(tmp_path: Path, cut: int) -> None:
    folder = tmp_path / "set"
    writer = DatasetWriter(folder, INFO)
    for number in range(3):
        add(writer, number, stored(number, parts=2))
    (part,) = (folder / "shards").glob("*.part")
    whole = part.read_bytes()
    assert len(whole) > 60_000
    part.write_bytes(whole[:-cut])
    with DatasetWriter(folder, INFO) as again:
        kept = again.next_source
        assert kept == (2 if cut < 20_000 else 1)
        for number in range(kept, 3):
            add(again, number, stored(number, parts=2))
        again.finish()
    assert listed(folder) == ["e0.0", "e0.1", "e1.0", "e1.1", "e2.0", "e2.1"]


class FullDisk(io.FileIO):
    """A file on a disk that has ``room`` bytes left, shared by all that it opens."""

    def __init__(self, path: Path, room: list[int]) -> None:
        super().__init__(path, "wb")
        self._room = room

    def write(self, data: bytes) -> int:  # type: ignore[override]
        size = memoryview(data).nbytes
        if size > self._room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._room[0] -= size
        return super().write(data)


def open_on_full_disk(room: int) -> Callable[[Path], IO[bytes]]:
    left = [room]
    return lambda path: FullDisk(path, left)  # type: ignore[return-value]


@pytest.mark.parametrize("room", [0, 100, 5_000, 15_000, 33_000, 40_000])
def test_a_full_disk_says_what_is_kept_and_leaves_a_dataset_that_goes_on(tmp_path: Path, room: int) -> None:
    folder = tmp_path / "set"
    added = 0

    def fill() -> None:
        nonlocal added
        with DatasetWriter(folder, INFO, open_file=open_on_full_disk(room), shard_bytes=20_000) as writer:
            for number in range(9):
                add(writer, number, stored(number))
                added += 1
            writer.finish()

    with pytest.raises(DataError, match=r"No space left on device; \d episodes are kept\. Free some"):
        fill()
    assert len(listed(folder)) <= added
    with DatasetWriter(folder, INFO) as writer:
        assert writer.next_source == added, "not an episode is lost"
        for number in range(added, 9):
            add(writer, number, stored(number))
        writer.finish()
    assert listed(folder) == [f"e{number}.0" for number in range(9)]
    assert [episode.encoded("static", 0)[0] for episode in open_dataset(folder)] == list(range(9))


def test_a_line_of_the_list_that_was_not_finished_is_no_episode(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    with DatasetWriter(folder, INFO, shard_bytes=1) as writer:
        add(writer, 0, stored(0))
        add(writer, 1, stored(1, parts=2))
    lines = (folder / "episodes.jsonl").read_text()
    (folder / "episodes.jsonl").write_text(lines[:-30])
    assert listed(folder) == ["e0.0", "e1.0"]
    with DatasetWriter(folder, INFO) as writer:
        assert writer.next_source == 1
        add(writer, 1, stored(1, parts=2))
        writer.finish()
    assert listed(folder) == ["e0.0", "e1.0", "e1.1"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"origin": Origin(importer="test", path="elsewhere")}, "unfinished import with another origin"),
        ({"images": ImageFormat(resize=224)}, "unfinished import with another images"),
    ],
)
def test_another_import_does_not_continue_this_one(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    with DatasetWriter(tmp_path / "set", INFO, shard_bytes=1) as writer:
        add(writer, 0, stored(0))
    with pytest.raises(DataError, match=message):
        DatasetWriter(tmp_path / "set", INFO.model_copy(update=change))


def test_nothing_that_is_there_is_overwritten(source: MemorySource, tmp_path: Path) -> None:
    convert(source, tmp_path / "set", ORIGIN)
    with pytest.raises(DataError, match="holds a finished dataset"):
        convert(source, tmp_path / "set", ORIGIN)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(DataError, match="no dataset and not empty"):
        convert(source, tmp_path / "other", ORIGIN)


def test_an_import_that_wrote_nothing_does_not_stand_in_the_way(
    source: MemorySource, make_episode: Callable[..., ArrayEpisode], tmp_path: Path
) -> None:
    static = make_episode(images={"static": make_episode().images["static"]})
    with pytest.raises(DataError, match=r"no episode is left: no camera hand \(1 episodes\)"):
        convert(MemorySource("one", [static]), tmp_path / "set", ORIGIN, cameras=["static", "hand"])
    assert convert(source, tmp_path / "set", Origin(importer="other", path="x")).episodes == 4
