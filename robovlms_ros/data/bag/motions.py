"""What an arm did between two moments, from recorded velocities or poses."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.data.bag.samples import Poses
from robovlms_ros.data.bag.tracks import NANOSECONDS, Stamps, Track
from robovlms_ros.data.quaternions import axis_angle_to_quaternion, conjugate, multiply, quaternion_to_axis_angle

Array = NDArray[np.float64]
NO_POSE = "no pose at the time of the image"
IDLE = "before the first or after the last command"


class Motion(Protocol):
    """What the arm did, in the frame of its topic."""

    def between(self, times: Stamps) -> tuple[Array, dict[int, str]]:
        """Motions ``(T - 1, 6)`` from each of ``times`` ``(T,)`` to the next, and those unknown with the reason.

        Translation in metres, then axis times angle in radians, about fixed axes.
        """


class TwistMotion:
    """Velocities, each of which holds until the next one, but no longer than ``timeout`` seconds."""

    def __init__(self, track: Track, timeout: float) -> None:
        order = np.argsort(track.stamps, kind="stable")
        twists = [track.messages[i].twist for i in order.tolist()]
        self._starts = track.stamps[order]
        rows = [[getattr(part, axis) for part in (t.linear, t.angular) for axis in "xyz"] for t in twists]
        self._velocities = np.array(rows, dtype=np.float64).reshape(-1, 6)
        until = self._starts + round(timeout * NANOSECONDS)
        self._ends = np.minimum(until, np.append(self._starts[1:], until[-1:]))

    def between(self, times: Stamps) -> tuple[Array, dict[int, str]]:
        """See `Motion`."""
        motions = np.zeros((len(times) - 1, 6))
        faults = {}
        for step, (start, end) in enumerate(zip(times.tolist(), times[1:].tolist(), strict=False)):
            if not len(self._starts) or end <= self._starts[0] or start >= self._ends[-1]:
                faults[step] = IDLE
                continue
            first = int(np.searchsorted(self._ends, start, side="right"))
            last = int(np.searchsorted(self._starts, end, side="left"))
            held = np.minimum(self._ends[first:last], end) - np.maximum(self._starts[first:last], start)
            parts = self._velocities[first:last] * (held.clip(0) / NANOSECONDS)[:, None]
            motions[step, :3] = parts[:, :3].sum(axis=0)
            motions[step, 3:] = _composed(parts[:, 3:])
        return motions, faults


class PoseMotion:
    """Poses of the tool, measured or commanded, between which it moved steadily."""

    def __init__(self, track: Track) -> None:
        self._poses = Poses(track)

    def between(self, times: Stamps) -> tuple[Array, dict[int, str]]:
        """See `Motion`."""
        places, turns = self._poses.at(times)
        unknown = np.asarray(np.isnan(places).any(axis=1))
        motions = np.zeros((len(times) - 1, 6))
        motions[:, :3] = np.diff(places, axis=0)
        for step in range(len(times) - 1):
            motions[step, 3:] = quaternion_to_axis_angle(multiply(turns[step + 1], conjugate(turns[step])))
        bad = np.flatnonzero(np.logical_or(unknown[:-1], unknown[1:])).tolist()
        motions[bad] = 0
        return motions, dict.fromkeys(bad, NO_POSE)


def _composed(rotations: Array) -> Array:
    """Small rotations ``(n, 3)`` one after the other, about fixed axes, as one."""
    turning = rotations[np.flatnonzero(rotations.any(axis=1))]
    if len(turning) < 2:
        return np.asarray(turning.sum(axis=0))
    total = axis_angle_to_quaternion(turning[0])
    for rotation in turning[1:]:
        total = multiply(axis_angle_to_quaternion(rotation), total)
    return quaternion_to_axis_angle(total)
