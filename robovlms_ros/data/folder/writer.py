"""Writes a dataset folder so that whatever ends it, all complete episodes are kept and the next run goes on.

A shard is written aside and takes its name when it is whole; then its episodes are listed. What a killed import
had written of its last shard is read back by the next one. A shard's Arrow file begins like an Arrow stream, which
is what makes this possible, and each record batch carries its own line of the list.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

import pyarrow as pa

from robovlms_ros.data.errors import DataError
from robovlms_ros.data.folder.batches import ROW_KEY, StoredEpisode, batch_of, readable_batches, sync_folder
from robovlms_ros.data.folder.format import (
    DATASET_FILE,
    EPISODES_FILE,
    SHARDS,
    DatasetInfo,
    EpisodeRow,
    read_info,
    read_rows,
    shard_name,
    shard_schema,
    write_info,
)
from robovlms_ros.data.report import Drop, group_drops

SHARD_BYTES = 128 * 2**20


def open_unbuffered(path: Path) -> IO[bytes]:
    """A file to write, whose every byte the operating system has when ``write`` returns."""
    return path.open("wb", buffering=0)


class DatasetWriter:
    """Writes or continues a dataset folder; use it as a context manager and call `finish` at the end.

    Args:
        folder: made where it is absent.
        info: what the dataset is. Where the folder holds an unfinished import of the same, it is continued.
        shard_bytes: size from which on a shard is closed.
        open_file: opens shards to write.

    Raises `DataError` where the folder holds something else, or is finished; and from any method where the disk
    takes no more: all complete episodes are then kept.
    """

    def __init__(
        self,
        folder: Path,
        info: DatasetInfo,
        *,
        shard_bytes: int = SHARD_BYTES,
        open_file: Callable[[Path], IO[bytes]] = open_unbuffered,
    ) -> None:
        self.folder = folder
        self.info = info
        self.rows: list[EpisodeRow] = []
        self._schema = shard_schema(info.cameras)
        self._shard_bytes = shard_bytes
        self._open_file = open_file
        self._file: IO[bytes] | None = None
        self._writer: pa.RecordBatchFileWriter | None = None
        self._pending: list[EpisodeRow] = []
        self._identifiers: set[str] = set()
        self._safe_size = 0
        self._broken = False
        with self._disk_errors():
            self._start()

    @property
    def next_source(self) -> int:
        """The number of the first source episode that is not there yet."""
        rows = self._pending or self.rows
        return rows[-1].source + 1 if rows else 0

    @property
    def episodes(self) -> int:
        """Episodes written so far, those of earlier runs included."""
        return len(self.rows) + len(self._pending)

    @property
    def complete_episodes(self) -> int:
        """Those of them whose source episode is there whole: what an interruption leaves."""
        rows = [*self.rows, *self._pending]
        while rows and not rows[-1].last_part:
            rows.pop()
        return len(rows)

    def add(self, source: int, part: StoredEpisode, *, last: bool = True) -> None:
        """Write a part of episode ``source``; parts come in order, the last one of an episode with ``last``."""
        with self._disk_errors():
            if self._writer is None:
                self._begin_shard()
            row = EpisodeRow(
                identifier=self._unique(part.identifier),
                instruction=part.instruction,
                steps=len(part.actions),
                step_duration=part.step_duration,
                source=source,
                last_part=last,
                shard=self._shard_number,
                batch=len(self._pending),
                dropped=tuple(part.dropped),
            )
            self._write(batch_of(part, self._schema), row)
            if last and self._file is not None:
                self._safe_size = self._file.tell()
                if self._safe_size >= self._shard_bytes:
                    self._end_shard()

    def finish(self, dropped: Iterable[Drop] = ()) -> DatasetInfo:
        """End the import; ``dropped`` is added to what the episodes themselves say. Returns what was written."""
        with self._disk_errors():
            self._end_shard()
            everything = [*(drop for row in self.rows for drop in row.dropped), *dropped]
            counts = {"episodes": len(self.rows), "steps": sum(row.steps for row in self.rows)}
            self.info = self.info.model_copy(
                update={"complete": True, "dropped": tuple(group_drops(everything)), **counts}
            )
            write_info(self.folder, self.info)
        return self.info

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and not self._broken:
            with suppress(DataError), self._disk_errors():
                self._end_shard()
        if self._file is not None:
            self._file.close()

    # -- starting and continuing

    def _start(self) -> None:
        if (self.folder / DATASET_FILE).exists():
            self._check_same(read_info(self.folder))
        elif self.folder.is_dir() and any(self.folder.iterdir()):
            raise DataError(f"{self.folder} is no dataset and not empty; choose another folder")
        (self.folder / SHARDS).mkdir(parents=True, exist_ok=True)
        write_info(self.folder, self.info)
        self._keep_complete_rows()
        self._shard_number = max((row.shard for row in self.rows), default=-1) + 1
        self._salvage()
        self._identifiers = {row.identifier for row in self.rows}

    def _check_same(self, found: DatasetInfo) -> None:
        shards = self.folder / SHARDS
        if not read_rows(self.folder) and not (shards.is_dir() and any(shards.iterdir())):
            return  # nothing was written: there is nothing to continue
        if found.complete:
            raise DataError(f"{self.folder} holds a finished dataset; choose another folder, or remove that one")
        for key in ("origin", "images", "cameras", "rotation_format", "frame"):
            was, now = getattr(found, key), getattr(self.info, key)
            if was != now:
                raise DataError(
                    f"{self.folder} holds an unfinished import with another {key} ({was}, now {now}); repeat its "
                    "command to continue it, or choose another folder"
                )

    def _keep_complete_rows(self) -> None:
        rows = read_rows(self.folder)
        while rows and not rows[-1].last_part:
            rows.pop()
        aside = self.folder / f".{EPISODES_FILE}"
        aside.write_text("".join(row.model_dump_json() + "\n" for row in rows), encoding="utf-8")
        aside.replace(self.folder / EPISODES_FILE)
        self.rows = rows

    def _salvage(self) -> None:
        """Write again what an import that was killed had written of its last shard."""
        part, old = self._part_path, self._part_path.with_suffix(".old")
        if part.exists() and not old.exists():
            part.rename(old)
        if not old.exists():
            return
        complete: list[tuple[EpisodeRow, pa.RecordBatch]] = []
        waiting: list[tuple[EpisodeRow, pa.RecordBatch]] = []
        for row, batch in readable_batches(old, self._schema):
            waiting.append((row, batch))
            if row.last_part:
                complete += waiting
                waiting = []
        if complete and complete[0][0].source >= self.next_source:
            self._begin_shard()
            for row, batch in complete:
                self._write(batch, row.model_copy(update={"shard": self._shard_number}))
            self._end_shard()
        old.unlink()

    # -- shards

    def _unique(self, identifier: str) -> str:
        """``identifier``, with a number where another episode has it: datasets that are joined count alike."""
        names = (identifier, *(f"{identifier}~{number}" for number in range(2, self.episodes + 3)))
        chosen = next(name for name in names if name not in self._identifiers)
        self._identifiers.add(chosen)
        return chosen

    @property
    def _part_path(self) -> Path:
        return self.folder / SHARDS / (shard_name(self._shard_number) + ".part")

    def _begin_shard(self) -> None:
        self._file = self._open_file(self._part_path)
        self._writer = pa.ipc.new_file(self._file, self._schema)
        self._safe_size = 0

    def _write(self, batch: pa.RecordBatch, row: EpisodeRow) -> None:
        assert self._writer is not None
        self._writer.write_batch(batch, custom_metadata={ROW_KEY: row.model_dump_json()})
        self._pending.append(row)

    def _end_shard(self) -> None:
        if self._writer is None or self._file is None:
            return
        self._writer.close()
        os.fsync(self._file.fileno())
        self._file.close()
        self._writer = self._file = None
        self._part_path.replace(self.folder / SHARDS / shard_name(self._shard_number))
        sync_folder(self.folder / SHARDS)
        with (self.folder / EPISODES_FILE).open("a", encoding="utf-8") as file:
            file.writelines(row.model_dump_json() + "\n" for row in self._pending)
            file.flush()
            os.fsync(file.fileno())
        self.rows += self._pending
        self._pending = []
        self._shard_number += 1

    def _disk_errors(self) -> _DiskErrors:
        return _DiskErrors(self)

    def leave_readable(self) -> None:
        """After a failed write: cut off what is incomplete, so that the next run can read the rest back."""
        self._broken = True
        if self._file is not None:
            with suppress(OSError):
                self._file.truncate(self._safe_size)
        self._writer = None


class _DiskErrors:
    """Turns an OSError of the disk into a `DataError` that says what is kept and how to go on."""

    def __init__(self, writer: DatasetWriter) -> None:
        self._owner = writer

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, OSError):
            return
        self._owner.leave_readable()
        raise DataError(
            f"{self._owner.folder} cannot be written: {error.strerror or error}; {self._owner.complete_episodes} "
            "episodes are kept. Free some space and run the same command again to go on"
        ) from error
