"""What is left of a bag file that was cut short or damaged, as a file that can be read."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from robovlms_ros.data.bag.file import BagError

# A record that claims to be longer is damage, not data: chunks are a few megabytes, images below this.
LONGEST_RECORD = 1 << 29
_TABLES = ("schema", "metadata", "topics", "message_definitions", "messages")


def salvage(file: Path, folder: Path) -> tuple[Path, int]:
    """Write what can be read of an .mcap or .db3 file, from its beginning on, to a file of its name in ``folder``.

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
        found = source.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
        tables = {name: sql for name, sql in found if name in _TABLES}
        for name in _TABLES:
            if name not in tables:
                continue
            sink.execute(tables[name])
            try:
                # In the order of their numbers, which is that of the file: an index may be what is lost.
                for row in source.execute(f"SELECT * FROM {name} NOT INDEXED ORDER BY rowid"):
                    sink.execute(f"INSERT INTO {name} VALUES ({','.join('?' * len(row))})", row)
                    count += name == "messages"
            except sqlite3.DatabaseError:
                continue
        sink.commit()
    return count
