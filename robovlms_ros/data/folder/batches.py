"""Record batches of episodes, and those that can be read back from a shard that was never finished."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from robovlms_ros.data.errors import DataError
from robovlms_ros.data.folder.format import EpisodeRow, image_column, parse
from robovlms_ros.data.report import Drop

_FILE_MAGIC = b"ARROW1\0\0"
ROW_KEY = "episode"
"""Under which a batch carries its own line of the list of episodes."""


@dataclass(frozen=True)
class StoredEpisode:
    """An episode with encoded images, ``{camera: T files}``; see `robovlms_ros.data.episodes.Episode`."""

    identifier: str
    instruction: str
    step_duration: float
    actions: NDArray[np.float64]
    images: Mapping[str, Sequence[bytes]]
    states: NDArray[np.float64] | None = None
    stamps: NDArray[np.int64] | None = None
    dropped: Sequence[Drop] = field(default_factory=tuple)


def batch_of(episode: StoredEpisode, schema: pa.Schema) -> pa.RecordBatch:
    """An episode as one record batch of a shard, one row per step."""
    columns: dict[str, pa.Array] = {
        "actions": _rows(episode.actions, schema),
        "states": pa.nulls(len(episode.actions), schema.field("states").type)
        if episode.states is None
        else _rows(episode.states, schema),
        "stamps": pa.nulls(len(episode.actions), pa.int64())
        if episode.stamps is None
        else pa.array(episode.stamps, pa.int64()),
        **{image_column(camera): pa.array(files, pa.large_binary()) for camera, files in episode.images.items()},
    }
    return pa.record_batch([columns[name] for name in schema.names], schema=schema)


def _rows(rows: NDArray[np.float64], schema: pa.Schema) -> pa.Array:
    values = pa.array(np.ascontiguousarray(rows, dtype=np.float64).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(values, type=schema.field("actions").type)


def readable_batches(path: Path, schema: pa.Schema) -> Iterator[tuple[EpisodeRow, pa.RecordBatch]]:
    """The episodes of a shard that was not finished, up to where it breaks off."""
    if path.stat().st_size <= len(_FILE_MAGIC):
        return
    with path.open("rb") as file:
        mapped = pa.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    if mapped[: len(_FILE_MAGIC)].to_pybytes() != _FILE_MAGIC:
        return
    with suppress(pa.ArrowInvalid, OSError, StopIteration, DataError):
        stream = pa.ipc.open_stream(mapped[len(_FILE_MAGIC) :])
        while stream.schema == schema:
            batch, metadata = stream.read_next_batch_with_custom_metadata()
            batch.validate(full=True)
            yield parse(EpisodeRow, metadata[ROW_KEY].decode(), str(path)), batch


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable too, where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
