"""Numbers that a bag recorded over time, read at other times: grippers, poses, instructions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.data.bag.file import BagError
from robovlms_ros.data.bag.options import ARRAYS, JOINTS, GripperOptions
from robovlms_ros.data.bag.tracks import Stamps, Track, usual_period

Array = NDArray[np.float64]


def gripper_openings(track: Track | None, kind: str, options: GripperOptions, times: Stamps) -> Array:
    """The opening in [0, 1] last said before each of ``times``, NaN where nothing was. Raises `BagError`."""
    before_all = np.nan if options.initial is None else options.initial
    if track is None or not track.messages:
        return np.full(len(times), before_all)
    values = np.array([_gripper_value(message, kind, options) for message in track.messages])
    openings = np.clip((values - options.closed) / (options.open - options.closed), 0, 1)
    stamps, openings = _in_order(track.stamps, openings)
    last = np.searchsorted(stamps, times, side="right") - 1
    return np.where(last >= 0, openings[last.clip(0)], before_all)


def _gripper_value(message: Any, kind: str, options: GripperOptions) -> float:
    if kind == JOINTS:
        names = list(message.name)
        if options.joint in names and names.index(options.joint) < len(message.position):
            return float(message.position[names.index(options.joint)])
        raise BagError(f"the gripper's topic has no joint {options.joint!r}; name one of {', '.join(names)}")
    if kind in ARRAYS:
        place = options.joint or "0"
        if place.isdecimal() and int(place) < len(message.data):
            return float(message.data[int(place)])
        raise BagError(
            f"the gripper's topic has {len(message.data)} numbers and no place {place!r}; give its place from 0"
        )
    return float(message.data)


def instructions(track: Track | None, times: Stamps) -> list[str]:
    """The instruction last given before each of ``times``, "" where none was."""
    if track is None or not track.messages:
        return [""] * len(times)
    last = np.searchsorted(np.array(track.received), times, side="right") - 1
    return [track.messages[i].data if i >= 0 else "" for i in last.tolist()]


class Poses:
    """The tool's pose over time: positions ``(n, 3)`` and unit quaternions ``(n, 4)``, x y z w."""

    def __init__(self, track: Track) -> None:
        poses = [message.pose for message in track.messages]
        positions = [[p.position.x, p.position.y, p.position.z] for p in poses]
        turns = [[p.orientation.x, p.orientation.y, p.orientation.z, p.orientation.w] for p in poses]
        rows = np.array([[*p, *q] for p, q in zip(positions, turns, strict=True)], dtype=np.float64).reshape(-1, 7)
        norms = np.linalg.norm(rows[:, 3:], axis=1)
        good = np.isfinite(rows).all(axis=1) & (np.abs(norms - 1) < 0.01)
        self.stamps, rows = _in_order(track.stamps[good], rows[good])
        self.positions, quaternions = rows[:, :3], rows[:, 3:]
        self.quaternions = quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)
        self.refused = int((~good).sum())

    def at(self, times: Stamps) -> tuple[Array, Array]:
        """Positions and quaternions at ``times``, between neighbours in time; NaN where these are far apart."""
        if not len(self.stamps):
            return np.full((len(times), 3), np.nan), np.full((len(times), 4), np.nan)
        later = np.searchsorted(self.stamps, times).clip(0, len(self.stamps) - 1)
        earlier = np.where(self.stamps[later] == times, later, (later - 1).clip(0))
        span = self.stamps[later] - self.stamps[earlier]
        part = ((times - self.stamps[earlier]) / np.maximum(span, 1))[:, None]
        # The two quaternions of a rotation: take the one on the same side.
        first, second = self.quaternions[earlier], self.quaternions[later]
        second = np.where((first * second).sum(axis=1, keepdims=True) < 0, -second, second)
        turns = first + part * (second - first)
        turns /= np.linalg.norm(turns, axis=1, keepdims=True)
        places = self.positions[earlier] + part * (self.positions[later] - self.positions[earlier])
        known = (self.stamps[earlier] <= times) & (times <= self.stamps[later])
        known &= span <= 3 * usual_period(self.stamps)
        known |= self.stamps[later] == times
        return np.where(known[:, None], places, np.nan), np.where(known[:, None], turns, np.nan)


def _in_order(stamps: Stamps, rows: Array) -> tuple[Stamps, Array]:
    """By stamp, of equal stamps the first."""
    ordered, first = np.unique(stamps, return_index=True)
    return ordered, rows[first]
