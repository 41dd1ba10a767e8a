"""rosbag2 files without a ROS installation: what a bag holds, and its messages."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from robovlms_ros.data.bag.vla_action import DEFINITION, TYPE_NAME
from robovlms_ros.data.errors import DataError

_FILES = (".mcap", ".db3")


class BagError(DataError):
    """A bag that cannot be read, or that lacks what is asked of it."""


@dataclass(frozen=True)
class BagMessage:
    """One recorded message: ``data`` is its CDR serialisation, ``time_ns`` when it was received."""

    topic: str
    type_name: str
    time_ns: int
    data: bytes


@dataclass(frozen=True)
class BagContents:
    """What a bag holds. ``topics`` maps a topic to its message type, ``counts`` to its number of messages."""

    topics: dict[str, str]
    counts: dict[str, int]
    start_ns: int
    end_ns: int

    def require(self, topic: str) -> None:
        """Raise `BagError` unless the bag has messages on ``topic``."""
        if not self.counts.get(topic):
            raise BagError(f"the bag has no message on {topic!r}; it holds {self.listed()}")

    def listed(self) -> str:
        """Its topics and counts, for messages."""
        return ", ".join(f"{name} ({count})" for name, count in sorted(self.counts.items())) or "nothing"


class Bag:
    """An open bag (mcap or sqlite3, split or not): its contents, and its messages in order of time."""

    def __init__(self, reader: AnyReader) -> None:
        self._reader = reader
        if TYPE_NAME not in reader.typestore.fielddefs:
            # Recorders before Iron store no definitions; what a bag does define counts.
            known = reader.typestore.fielddefs
            ours = get_types_from_msg(DEFINITION, TYPE_NAME)
            needed = get_typestore(Stores.ROS2_KILTED).fielddefs
            reader.typestore.register({name: needed[name] for name in needed if name not in known} | ours)
        self.contents = BagContents(
            topics={c.topic: c.msgtype for c in reader.connections},
            counts={name: topic.msgcount for name, topic in reader.topics.items()},
            start_ns=reader.start_time,
            end_ns=reader.end_time,
        )

    def messages(self, topics: Collection[str] | None = None, start_ns: int | None = None) -> Iterator[BagMessage]:
        """Yield every message in the order of its time of reception: of all ``topics``, from ``start_ns`` on.

        Raises `BagError` where the file is damaged.
        """
        connections: list[Connection] = []
        if topics is not None:
            connections = [c for c in self._reader.connections if c.topic in topics]
            if not connections:
                return
        try:
            for connection, time_ns, data in self._reader.messages(connections, start=start_ns):
                yield BagMessage(connection.topic, connection.msgtype, time_ns, bytes(data))
        except Exception as error:  # as in _opened
            raise BagError(f"{self._reader.paths[0]} is damaged: {_one_line(error)}") from error

    def decode(self, message: BagMessage) -> Any:
        """The fields of a message. Raises `BagError` where its bytes are not what its type says."""
        try:
            return self._reader.typestore.deserialize_cdr(message.data, message.type_name)
        except Exception as error:  # rosbags generates its decoders, which raise whatever a wrong length leads to
            reason = _one_line(error)
            raise BagError(f"a message on {message.topic} is no {message.type_name}: {reason}") from error


@contextmanager
def open_bag(path: Path, unreadable: Callable[[Path, str], None] | None = None) -> Iterator[Bag]:
    """Open a rosbag2 folder, an .mcap or a .db3 file.

    Args:
        path: the bag.
        unreadable: where the folder as a whole cannot be read, those of its files are that can; called with every
            other one and the reason. Without it such a folder is an error.

    Raises `BagError`: nothing is there, it is no bag, or it is cut short.
    """
    if not path.exists():
        raise BagError(f"{path} does not exist: name a rosbag2 folder or an .mcap file")
    try:
        reader = _opened([path])
    except BagError:
        if unreadable is None or not path.is_dir():
            raise
        reader = _opened(_readable(path, unreadable))
    try:
        yield Bag(reader)
    finally:
        reader.close()


@contextmanager
def open_files(files: list[Path]) -> Iterator[Bag]:
    """Open .mcap and .db3 files as one bag, in the order of time. Raises `BagError` as `open_bag` does."""
    reader = _opened(files)
    try:
        yield Bag(reader)
    finally:
        reader.close()


def files_of(path: Path) -> list[Path]:
    """The .mcap and .db3 files of a bag, which may be one itself."""
    return sorted(each for each in path.iterdir() if each.suffix in _FILES) if path.is_dir() else [path]


def _opened(paths: list[Path]) -> AnyReader:
    try:
        reader = AnyReader(paths, default_typestore=get_typestore(Stores.ROS2_KILTED))
        reader.open()
    except Exception as error:  # a damaged file makes rosbags, SQLite, LZ4 and Zstandard raise anything
        reason = _one_line(error)
        hint = "; 'mcap recover' may save what a killed recorder left" if paths[0].suffix == ".mcap" else ""
        raise BagError(f"{paths[0]} cannot be read as a rosbag2 bag: {reason}{hint}") from error
    return reader


def _readable(folder: Path, unreadable: Callable[[Path, str], None]) -> list[Path]:
    readable = []
    problems = []
    for file in files_of(folder):
        try:
            _opened([file]).close()
            readable.append(file)
        except BagError as error:
            problems.append((file, str(error)))
    if not readable:
        empty = f"{folder} cannot be read as a rosbag2 bag: it has no .mcap or .db3 file"
        raise BagError(problems[0][1] if problems else empty)
    for file, reason in problems:
        unreadable(file, reason)
    return readable


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
