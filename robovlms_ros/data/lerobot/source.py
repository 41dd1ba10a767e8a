"""LeRobot datasets as a source of episodes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from robovlms_ros.data.episodes import RotationFormat
from robovlms_ros.data.errors import DataError
from robovlms_ros.data.lerobot.mapping import Array, Mapping
from robovlms_ros.data.lerobot.metadata import EpisodeFiles, read_metadata
from robovlms_ros.data.lerobot.motions import motions
from robovlms_ros.data.lerobot.video import Video
from robovlms_ros.data.pixels import PixelError
from robovlms_ros.data.recorded import RecordedEpisode, faults_of
from robovlms_ros.data.rotations import axis_angle_to_rpy

_NEEDED = ("episode_index", "frame_index", "timestamp")
_NUMBERS = (*_NEEDED, "task_index")


@dataclass(frozen=True)
class _Part:
    """The frames ``first`` to ``last`` (excluded) of an episode, which have one task; None: all."""

    files: EpisodeFiles
    first: int
    last: int | None


class LeRobotSource:
    """Episodes of a LeRobot dataset, see `robovlms_ros.data.episodes.EpisodeSource`. Close it, or use ``with``.

    Args:
        root: the dataset's folder, with ``meta/``.
        mapping: what its numbers mean.

    Raises `DataError` where the dataset cannot be read, or the mapping names what it has not.
    """

    def __init__(self, root: Path, mapping: Mapping) -> None:
        self.name = root.resolve().name
        self.mapping = mapping
        self.frame = mapping.frame
        self.rotation_format: RotationFormat = mapping.rotation_format
        self._meta = read_metadata(root)
        self._check_mapping()
        self._tables: dict[Path, pa.Table] = {}
        self._images: dict[tuple[Path, str, int], Any] = {}
        self._videos: dict[Path, Video] = {}
        self._parts = [part for files in self._meta.episodes for part in self._divided(files)]

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, index: int) -> RecordedEpisode:
        part = self._parts[index]
        table = self._rows(part.files).slice(part.first, None if part.last is None else part.last - part.first)
        where = f"{self.name}, episode {part.files.index}"
        info = self._meta.info
        read = self.mapping.action.read(_matrix(table, self.mapping.action.key, where), info)
        state = None
        if self.mapping.state is not None:
            state = self.mapping.state.read(_matrix(table, self.mapping.state.key, where), info)
        actions, faults = motions(read, self.mapping, state)
        states = None if state is None or self.mapping.state is None else _states(state, self.mapping)
        return RecordedEpisode(
            identifier=f"{part.files.index}" + (f"@{part.first}" if part.first else ""),
            instruction=self._instruction(table, part.files),
            step_duration=1 / info.fps,
            actions=actions,
            cameras=tuple(self.mapping.cameras),
            read_image=partial(self._image, part, table),
            states=states,
            stamps=np.round(np.asarray(table["timestamp"], dtype=np.float64) * 1e9).astype(np.int64),
            faults={**faults_of(actions, states), **faults},
        )

    def close(self) -> None:
        """Close the videos that are open."""
        for video in self._videos.values():
            video.close()
        self._videos.clear()

    def __enter__(self) -> LeRobotSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_mapping(self) -> None:
        info = self._meta.info
        self.mapping.action.places(info)
        if self.mapping.state is not None:
            self.mapping.state.places(info)
        there = ", ".join(info.cameras) or "none"
        for camera, key in self.mapping.cameras.items():
            if key not in info.cameras:
                raise DataError(f"camera {camera!r}: the dataset has no images {key!r}; it has {there}")

    def _divided(self, files: EpisodeFiles) -> list[_Part]:
        """One part per task where an episode has several."""
        if len(files.tasks) < 2:
            return [_Part(files, 0, None)]
        try:
            tasks = np.asarray(self._rows(files)["task_index"])
        except (DataError, KeyError):
            return [_Part(files, 0, None)]  # reading the episode says what is wrong
        bounds = [0, *(np.flatnonzero(np.diff(tasks)) + 1).tolist(), len(tasks)]
        return [_Part(files, first, last) for first, last in pairwise(bounds)]

    def _instruction(self, table: pa.Table, files: EpisodeFiles) -> str:
        if "task_index" in table.column_names and len(table):
            text = self._meta.tasks.get(table["task_index"][0].as_py())
            if text is not None:
                return text
        return files.tasks[0] if files.tasks else ""

    def _rows(self, files: EpisodeFiles) -> pa.Table:
        """The rows of an episode without its images, in order. Raises `DataError`."""
        where = f"{self.name}, episode {files.index}"
        table = self._table(files.data)
        lacking = [name for name in _NEEDED if name not in table.column_names]
        if lacking:
            raise DataError(f"{where}: {files.data.name} has no column {', '.join(lacking)}")
        mine = np.flatnonzero(np.asarray(table["episode_index"]) == files.index)
        order = np.argsort(np.asarray(table["frame_index"])[mine], kind="stable")
        if len(mine) != files.length:
            raise DataError(f"{where}: {len(mine)} rows are in {files.data.name}, {files.length} are listed")
        rows = table.take(mine[order])
        if not np.array_equal(np.asarray(rows["frame_index"]), np.arange(files.length)):
            raise DataError(f"{where}: frames are missing in {files.data.name}")
        return rows.append_column("row", pa.array(mine[order]))

    def _table(self, path: Path) -> pa.Table:
        if path not in self._tables:
            wanted = {*_NUMBERS, self.mapping.action.key}
            wanted |= {self.mapping.state.key} if self.mapping.state is not None else set()
            try:
                names = [name for name in pq.read_schema(path).names if name in wanted]
                # One file is kept: episodes that share one follow each other.
                self._tables = {path: pq.read_table(path, columns=names, partitioning=None)}
            except (OSError, pa.ArrowException) as error:
                raise DataError(f"{path} cannot be read: {error}") from error
        return self._tables[path]

    def _image(self, part: _Part, table: pa.Table, camera: str, step: int) -> bytes | NDArray[np.uint8]:
        key = self.mapping.cameras[camera]  # type: ignore[index]
        if key not in part.files.videos:
            return self._stored_image(part.files.data, key, table["row"][step].as_py())
        video = part.files.videos[key]
        seconds = video.start + table["timestamp"][step].as_py()
        return self._video(video.path).frame(seconds, tolerance=0.5 / self._meta.info.fps)

    def _video(self, path: Path) -> Video:
        if path not in self._videos:
            if len(self._videos) >= len(self.mapping.cameras):
                self.close()
            self._videos[path] = Video(path)
        return self._videos[path]

    def _stored_image(self, path: Path, key: str, row: int) -> bytes:
        """An image that is kept in the table itself."""
        try:
            file = pq.ParquetFile(path)
            group, first = 0, 0
            while row >= first + file.metadata.row_group(group).num_rows:
                first += file.metadata.row_group(group).num_rows
                group += 1
            place = (path, key, group)
            if place not in self._images:
                if len(self._images) >= len(self.mapping.cameras):
                    self._images.clear()
                self._images[place] = file.read_row_group(group, columns=[key])[key]
            data = self._images[place][row - first].as_py()["bytes"]
        except (OSError, pa.ArrowException, KeyError, TypeError, IndexError) as error:
            raise PixelError(f"{path.name}, row {row}: {key} cannot be read: {error}") from error
        if not isinstance(data, bytes):
            raise PixelError(f"{path.name}, row {row}: {key} is not stored in the table")
        return data


def _matrix(table: pa.Table, key: str, where: str) -> Array:
    """A column of lists of numbers as ``(T, n)``."""
    try:
        rows = np.array(table[key].to_pylist(), dtype=np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where}: {key!r} is not the same count of numbers in each row: {error}") from error
    return rows.reshape(len(rows), -1)


def _states(state: tuple[Array, Array, Array], mapping: Mapping) -> Array:
    translation, turn, opening = state
    if mapping.state is not None and mapping.state.rotation_format != "rpy":
        turn = axis_angle_to_rpy(turn)
    return np.column_stack([translation, turn, opening])
