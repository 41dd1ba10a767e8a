"""What is left of a bag file that was cut short or damaged, as a file that can be read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from robovlms_ros.data.bag.file import BagError

# A record that claims to be longer is damage, not data: chunks are a few megabytes, images below this.
LONGEST_RECORD = 1 << 29
# Rows that are tried one by one behind a damaged page.
LONGEST_GAP = 100_000
_TABLES = ("schema", "metadata", "topics", "message_definitions", "messages")


def salvage(file: Path, folder: Path) -> tuple[Path, int]:
    """Write what can be read of an .mcap or .db3 file to a file of its name in ``folder``.

    Of an .mcap that is all before the damage; of a .db3 what stands behind it, too.
    Returns that file and the number of messages in it. Raises `BagError` where there are none.
    """
    target = folder / file.name
    try:
        count = (_salvage_mcap if file.suffix == ".mcap" else _salvage_sqlite)(file, target)
    except (OSError, sqlite3.Error) as error:
        raise BagError(f"{file} cannot be read: {error}") from error
    if not count:
        raise BagError(f"{file} is damaged, and no message of it can be saved")
    return target, count


def _salvage_mcap(file: Path, target: Path) -> int:
    from mcap.records import Channel, Message, Schema
    from mcap.stream_reader import StreamReader
    from mcap.writer import CompressionType, Writer

    schemas: dict[int, int] = {}
    channels: dict[int, int] = {}
    count = 0
    with file.open("rb") as source, target.open("wb") as sink:
        writer = Writer(sink, compression=CompressionType.NONE)
        writer.start(profile="ros2", library="robovlms_ros")
        records = StreamReader(source, record_size_limit=LONGEST_RECORD).records
        # The damage: mcap, LZ4, Zstandard and struct raise whatever it leads to.
        with suppress(Exception):
            for record in records:
                if isinstance(record, Schema) and record.id not in schemas:
                    schemas[record.id] = writer.register_schema(record.name, record.encoding, record.data)
                elif isinstance(record, Channel) and record.id not in channels:
                    channels[record.id] = writer.register_channel(
                        record.topic, record.message_encoding, schemas.get(record.schema_id, 0), record.metadata
                    )
                elif isinstance(record, Message) and record.channel_id in channels:
                    writer.add_message(
                        channels[record.channel_id],
                        record.log_time,
                        record.data,
                        record.publish_time,
                        record.sequence,
                    )
                    count += 1
        writer.finish()  # type: ignore[no-untyped-call]
    return count


def _salvage_sqlite(file: Path, target: Path) -> int:
    count = 0
    with (
        closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro&immutable=1", uri=True)) as source,
        closing(sqlite3.connect(target)) as sink,
    ):
        # Without it SQLite reads nothing of a file that is shorter than its header says.
        source.execute("PRAGMA writable_schema = ON")
        found = source.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
        tables = {name: sql for name, sql in found if name in _TABLES}
        for name in (name for name in _TABLES if name in tables):
            sink.execute(tables[name])
            for row in _rows(source, name):
                with suppress(sqlite3.IntegrityError):  # a row of a page that is no longer what it was
                    sink.execute(f"INSERT INTO {name} VALUES ({','.join('?' * len(row))})", row)
                    count += name == "messages"
        sink.commit()
    return count


def _rows(source: sqlite3.Connection, table: str) -> Iterator[tuple[Any, ...]]:
    """The rows that can be read, in the order of their numbers: the index by time may be what is lost."""
    last = 0
    while True:
        try:
            for number, *row in source.execute(
                f"SELECT rowid, * FROM {table} NOT INDEXED WHERE rowid > ? ORDER BY rowid", (last,)
            ):
                yield tuple(row)
                last = number
            return
        except sqlite3.DatabaseError:
            found = _beyond_damage(source, table, last)
        if found is None:
            return
        last, behind = found
        yield behind


def _beyond_damage(source: sqlite3.Connection, table: str, last: int) -> tuple[int, tuple[Any, ...]] | None:
    """The next row after number ``last`` that can be read, with its number."""
    try:
        (newest,) = source.execute(f"SELECT max(rowid) FROM {table} NOT INDEXED").fetchone()
    except sqlite3.DatabaseError:
        return None
    for number in range(last + 1, min(newest or 0, last + LONGEST_GAP) + 1):
        with suppress(sqlite3.DatabaseError):
            row = source.execute(f"SELECT * FROM {table} NOT INDEXED WHERE rowid = ?", (number,)).fetchone()
            if row is not None:
                return number, tuple(row)
    return None
