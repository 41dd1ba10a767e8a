"""What a bag recorded on each topic over time: small messages whole, images by their stamps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.data.bag.file import Bag, BagError
from robovlms_ros.data.bag.options import BagTopics
from robovlms_ros.data.report import DropReport

Stamps = NDArray[np.int64]
NANOSECONDS = 1_000_000_000


@dataclass
class Track:
    """The messages of one topic in order of reception: times in nanoseconds, and the decoded messages if kept."""

    received: list[int] = field(default_factory=list)
    stamped: list[int] = field(default_factory=list)
    messages: list[Any] = field(default_factory=list)

    @property
    def stamps(self) -> Stamps:
        """``(n,)`` the messages' own stamps, or where they have none the times of reception."""
        return np.array(self.stamped, dtype=np.int64)


def read_tracks(
    bag: Bag, name: str, topics: BagTopics, report: DropReport, tick: Callable[[], None] = lambda: None
) -> dict[str, Track]:
    """Everything that is needed of a bag but its pixels; ``tick`` is called for every message.

    A damaged bag is read as far as it goes; what cannot be read is in ``report``.
    """
    tracks = {topic: Track() for topic in {*topics.images.values(), *topics.small}}
    try:
        for message in bag.messages(set(tracks)):
            tick()
            track = tracks[message.topic]
            if message.topic not in topics.small:
                stamp = header_stamp(message.data)
            else:
                try:
                    track.messages.append(bag.decode(message))
                except BagError as error:
                    report.add("unreadable message", "message", name, detail=str(error))
                    continue
                stamp = _stamp_of(track.messages[-1])
            track.received.append(message.time_ns)
            track.stamped.append(stamp or message.time_ns)
    except BagError as error:
        report.add("the bag is damaged: what follows is lost", "file", name, detail=str(error))
    return tracks


def header_stamp(data: bytes) -> int:
    """The stamp of a CDR message that begins with a std_msgs/Header, without decoding the rest; 0 if too short."""
    if len(data) < 12:
        return 0
    order = "little" if data[1] & 1 else "big"
    seconds = int.from_bytes(data[4:8], order, signed=True)  # type: ignore[arg-type]
    return seconds * NANOSECONDS + int.from_bytes(data[8:12], order)  # type: ignore[arg-type]


def _stamp_of(message: Any) -> int:
    header = getattr(message, "header", None)
    return 0 if header is None else int(header.stamp.sec) * NANOSECONDS + int(header.stamp.nanosec)


def nearest(stamps: Stamps, wanted: Stamps, slop_ns: int) -> NDArray[np.int64]:
    """For each of ``wanted`` the place of the nearest of ``stamps`` (in any order), -1 where none is near."""
    if not len(stamps):
        return np.full(len(wanted), -1, dtype=np.int64)
    order = np.argsort(stamps, kind="stable")
    ordered = stamps[order]
    later = np.searchsorted(ordered, wanted).clip(0, len(ordered) - 1)
    earlier = (later - 1).clip(0)
    best = np.where(np.abs(ordered[earlier] - wanted) < np.abs(ordered[later] - wanted), earlier, later)
    near = np.abs(ordered[best] - wanted) <= slop_ns
    return np.asarray(np.where(near, order[best], -1), dtype=np.int64)


def usual_period(stamps: Stamps) -> int:
    """The median time between messages in nanoseconds, 0 where there are fewer than two."""
    return int(np.median(np.diff(stamps))) if len(stamps) > 1 else 0


def gap_limit(stamps: Stamps, max_gap: float | None) -> int:
    """Nanoseconds between two steps from which on they do not follow each other."""
    return round(max_gap * NANOSECONDS) if max_gap is not None else 3 * usual_period(stamps)
