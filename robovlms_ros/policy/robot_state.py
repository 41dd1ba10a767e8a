"""The robot's own state: where its tool is and how far its gripper is open, around the time of an image."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.data.rotations import matrix_to_rpy, quaternion_to_matrix

# Samples kept: those of one second at the rate of the fastest arms.
DEPTH = 1024
# Drivers round; a quaternion whose length differs by more than this is no rotation.
NORM_TOLERANCE = 0.01


class StateError(ValueError):
    """A sample that cannot be used; it is dropped. ``kind`` is the name under which it is counted."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def tool_pose(position: Sequence[float], quaternion: Sequence[float]) -> NDArray[np.float64]:
    """Return x y z in metres and the unit quaternion x y z w, ``(7,)``, of a tool's pose.

    Raises StateError where a number is not finite or the quaternion is not of length 1. It does little else: arms
    report poses up to 1000 times in a second, and few of them are used.
    """
    if not all(math.isfinite(number) for number in (*position, *quaternion)):
        raise StateError("not finite", f"the pose holds a number that is not finite: {position}, {quaternion}")
    norm = math.hypot(*quaternion)
    if abs(norm - 1.0) > NORM_TOLERANCE:
        raise StateError("no rotation", f"the quaternion {quaternion} has length {norm:g}, not 1")
    return np.array([*position, *(number / norm for number in quaternion)])


def gripper_opening(position: float, closed: float, opened: float) -> NDArray[np.float64]:
    """Return the opening in [0, 1], ``(1,)``, of a joint that is closed and open at the two positions given.

    ``opened`` may be the smaller one. Raises StateError for a position that is not finite.
    """
    if not math.isfinite(position):
        raise StateError("not finite", f"the gripper's joint is at {position}")
    return np.array([min(max((position - closed) / (opened - closed), 0.0), 1.0)])


class StateBuffer:
    """The last samples of one source, by their stamps in nanoseconds. Not thread-safe."""

    def __init__(self, depth: int = DEPTH) -> None:
        self._stamps: deque[int] = deque(maxlen=depth)
        self._values: deque[NDArray[np.float64]] = deque(maxlen=depth)

    def __len__(self) -> int:
        return len(self._stamps)

    def clear(self) -> None:
        """Forget all samples."""
        self._stamps.clear()
        self._values.clear()

    def offer(self, stamp_ns: int, values: NDArray[np.float64]) -> str | None:
        """Take a sample, or return why not: ``"duplicate state"`` or ``"backward state"``, by its stamp."""
        if self._stamps and stamp_ns <= self._stamps[-1]:
            return "duplicate state" if stamp_ns == self._stamps[-1] else "backward state"
        self._stamps.append(stamp_ns)
        self._values.append(values)
        return None

    def nearest(self, stamp_ns: int, within_ns: int) -> NDArray[np.float64] | None:
        """Return the sample nearest in time, the later of equals, or None where none is near enough."""
        later = bisect_left(self._stamps, stamp_ns)
        near = [index for index in (later, later - 1) if 0 <= index < len(self._stamps)]
        if not near:
            return None
        best = min(near, key=lambda index: abs(self._stamps[index] - stamp_ns))
        return self._values[best] if abs(self._stamps[best] - stamp_ns) <= within_ns else None

    def newest(self, now_ns: int, max_age_ns: int) -> NDArray[np.float64] | None:
        """Return the last sample, or None where it is older than ``max_age_ns``."""
        return self._values[-1] if self._stamps and now_ns - self._stamps[-1] <= max_age_ns else None


class RobotStates:
    """What is known of the robot: ``parts`` of its state, ``"pose"`` first, then perhaps ``"gripper"``.

    A pose is ``(7,)`` of `tool_pose` in the frame of the actions, a gripper ``(1,)`` of `gripper_opening`.
    ``max_age_ns`` bounds both how far a sample may be from an image and how old the newest pose may be.
    Not thread-safe.
    """

    def __init__(self, parts: Sequence[str] = (), max_age_ns: int = 0) -> None:
        self._max_age_ns = max_age_ns
        self._parts = {part: StateBuffer() for part in parts}

    def clear(self) -> None:
        """Forget all samples: the clock has jumped."""
        for buffer in self._parts.values():
            buffer.clear()

    def offer(self, part: str, stamp_ns: int, values: NDArray[np.float64]) -> str | None:
        """Take a sample of ``part``; return None, or the reason why it is dropped."""
        return self._parts[part].offer(stamp_ns, values)

    def at(self, stamp_ns: int) -> NDArray[np.float64] | None:
        """Return what `Observation.state` holds for an image: all parts, or None where one is missing.

        That is x y z in metres, roll pitch yaw in radians about fixed axes and, with a gripper, its opening.
        """
        state: list[NDArray[np.float64]] = []
        for part, buffer in self._parts.items():
            values = buffer.nearest(stamp_ns, self._max_age_ns)
            if values is None:
                return None
            state += [values[:3], matrix_to_rpy(quaternion_to_matrix(values[3:]))] if part == "pose" else [values]
        return np.concatenate(state) if state else None

    def position(self, now_ns: int) -> NDArray[np.float64] | None:
        """Return where the tool is now, ``(3,)`` metres, or None where its last pose is too old."""
        poses = self._parts.get("pose")
        pose = poses.newest(now_ns, self._max_age_ns) if poses is not None else None
        return None if pose is None else pose[:3]
