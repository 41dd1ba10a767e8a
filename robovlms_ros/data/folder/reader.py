"""Reads a dataset folder: mapped, by random access, in memory that does not grow with what has been read."""

from __future__ import annotations

import mmap
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from robovlms_ros.data.episodes import ACTION_DIM, RotationFormat, check_rows
from robovlms_ros.data.errors import DataError
from robovlms_ros.data.folder.format import (
    SHARDS,
    DatasetInfo,
    EpisodeRow,
    image_column,
    read_info,
    read_rows,
    shard_name,
)
from robovlms_ros.data.images import decode
from robovlms_ros.data.pixels import PixelError

# Bytes of images read before the pages of the shards are given back; they stay in the kernel's cache. What the
# kernel maps around them on each access counts for the process too, and is several times as much.
RESIDENT_BYTES = 64 * 2**20
_MAGIC = b"ARROW1"


class Shard:
    """One mapped Arrow file, opened when first read and again in every process that it is sent to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._map: mmap.mmap | None = None
        self._file: pa.RecordBatchFileReader | None = None

    def check(self) -> None:
        """Raise `DataError` unless the file is there and was written to its end."""
        try:
            with self.path.open("rb") as file:
                file.seek(-len(_MAGIC), 2)
                whole = file.read() == _MAGIC
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error}; copy the dataset again") from error
        if not whole:
            raise DataError(f"{self.path} is cut short; copy the dataset again, or import it again")

    def batch(self, number: int) -> pa.RecordBatch:
        """Record batch ``number``; its buffers are views of the file."""
        try:
            if self._file is None:
                with self.path.open("rb") as file:
                    self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                self._file = pa.ipc.open_file(pa.py_buffer(self._map))
            batch = self._file.get_batch(number)
            # Offsets that point elsewhere would be followed there.
            batch.validate(full=True)
            return batch
        except (OSError, ValueError, pa.ArrowException) as error:
            raise DataError(
                f"{self.path}, batch {number}: {error}; copy the dataset again, or import it again"
            ) from error

    def release(self) -> None:
        """Give back the memory of the pages that were read. Views stay valid: their pages are read again."""
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "_map": None, "_file": None}


class FolderEpisode:
    """An episode of a dataset folder, see `robovlms_ros.data.episodes.Episode`."""

    def __init__(self, source: FolderSource, row: EpisodeRow) -> None:
        self._source = source
        self._row = row
        self.identifier = row.identifier
        self.instruction = row.instruction
        self.step_duration = row.step_duration
        self.cameras: tuple[str, ...] = source.info.cameras

    def __len__(self) -> int:
        return self._row.steps

    @cached_property
    def actions(self) -> NDArray[np.float64]:
        """``(T, 7)``, a read-only view of the file."""
        rows = self._numbers("actions")
        check_rows(f"{self._source.name}/{self.identifier}", "actions", rows)
        return rows

    @cached_property
    def states(self) -> NDArray[np.float64] | None:
        """``(T, 7)``, a read-only view of the file, or None."""
        if self._batch.column("states").null_count:
            return None
        rows = self._numbers("states")
        check_rows(f"{self._source.name}/{self.identifier}", "states", rows)
        return rows

    @cached_property
    def stamps(self) -> NDArray[np.int64] | None:
        """``(T,)`` nanoseconds at which the images were taken, or None."""
        column = self._batch.column("stamps")
        return None if column.null_count else np.asarray(column.to_numpy())

    def encoded(self, camera: str, step: int) -> bytes:
        """The JPEG or PNG that `image` decodes."""
        if camera not in self.cameras:
            raise KeyError(camera)
        if not 0 <= step < len(self):
            raise IndexError(step)
        data = self._batch.column(image_column(camera))[step].as_py()
        if not isinstance(data, bytes):
            raise DataError(f"{self._source.name}, episode {self.identifier}, step {step}: no image of {camera}")
        self._source.count_read(len(data))
        return data

    def image(self, camera: str, step: int) -> NDArray[np.uint8]:
        """The ``(H, W, 3)`` RGB pixels at ``step``. Raises `DataError` where the image is corrupt."""
        try:
            return decode(self.encoded(camera, step))
        except PixelError as error:
            raise DataError(
                f"{self._source.name}, episode {self.identifier}, step {step}, camera {camera}: {error}"
            ) from error

    @cached_property
    def _batch(self) -> pa.RecordBatch:
        batch = self._source.shard(self._row.shard).batch(self._row.batch)
        if batch.num_rows != len(self):
            raise DataError(
                f"{self._source.name}, episode {self.identifier}: {batch.num_rows} steps are stored, {len(self)} "
                "are listed; shards and list do not belong together, copy the dataset again"
            )
        return batch

    def _numbers(self, column: str) -> NDArray[np.float64]:
        flat = self._batch.column(column).flatten().to_numpy()
        return np.asarray(flat).reshape(-1, ACTION_DIM)

    def __getstate__(self) -> dict[str, object]:
        return {
            key: value
            for key, value in self.__dict__.items()
            if key not in ("_batch", "actions", "states", "stamps")
        }


class FolderSource:
    """A dataset folder as an `robovlms_ros.data.episodes.EpisodeSource`. May be sent to worker processes.

    An import that was interrupted can be read as far as it came (`info.complete` is then False).
    """

    def __init__(self, folder: Path, resident_bytes: int = RESIDENT_BYTES) -> None:
        """Read the list of a dataset folder; ``resident_bytes`` bounds what of its images is held in memory."""
        self.folder = folder
        self._resident_bytes = resident_bytes
        self.info: DatasetInfo = read_info(folder)
        self.rows = read_rows(folder)
        self.name = self.info.name
        self.rotation_format: RotationFormat = self.info.rotation_format
        self.frame = self.info.frame
        self._shards = {number: Shard(self.shard_path(number)) for number in {row.shard for row in self.rows}}
        self._read_bytes = 0
        for shard in self._shards.values():
            shard.check()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> FolderEpisode:
        return FolderEpisode(self, self.rows[index])

    def shard_path(self, number: int) -> Path:
        """Where a shard is."""
        return self.folder / SHARDS / shard_name(number)

    def shard(self, number: int) -> Shard:
        """The shard that holds an episode."""
        return self._shards[number]

    def count_read(self, size: int) -> None:
        """Note that ``size`` bytes of images were read; from time to time their memory is given back."""
        self._read_bytes += size
        if self._read_bytes > self._resident_bytes:
            self._read_bytes = 0
            for shard in self._shards.values():
                shard.release()


def open_dataset(folder: str | Path) -> FolderSource:
    """The episodes of a dataset folder. Raises `DataError` where it is none, or a damaged one."""
    source = FolderSource(Path(folder).expanduser())
    if not len(source):
        raise DataError(f"{folder} has no episodes; see what its import dropped in its dataset.json")
    return source
