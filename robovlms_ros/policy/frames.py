"""Which camera frames a step uses: the newest, never twice, from two cameras only if taken together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Frames kept per camera where several must match: enough for one camera to lag the other by some frames.
MATCH_DEPTH = 8


class FrameError(ValueError):
    """A frame that cannot be decoded; it is dropped and counted, the episode goes on."""


@dataclass(frozen=True)
class Frame:
    """One camera image that is decoded only if it is used.

    ``decode`` returns ``(H, W, 3)`` uint8 RGB or raises FrameError. ``stamp_ns`` is the capture time.
    """

    stamp_ns: int
    decode: Callable[[], NDArray[np.uint8]]


@dataclass(frozen=True)
class FrameSet:
    """One frame per camera that were taken together."""

    frames: Mapping[str, Frame]

    @property
    def stamp_ns(self) -> int:
        """The oldest of the stamps: an action is never older than it says."""
        return min(frame.stamp_ns for frame in self.frames.values())

    @property
    def spread_ns(self) -> int:
        """Time between the first and the last of the frames."""
        return max(frame.stamp_ns for frame in self.frames.values()) - self.stamp_ns


class FrameBuffer:
    """The newest frames of each camera that no step has used yet. Not thread-safe."""

    def __init__(self, cameras: Sequence[str], slop_ns: int) -> None:
        if not cameras:
            raise ValueError("a controller needs at least one camera")
        depth = MATCH_DEPTH if len(cameras) > 1 else 1
        self._slop_ns = slop_ns
        self._waiting: dict[str, deque[Frame]] = {camera: deque(maxlen=depth) for camera in cameras}
        self._last_stamp: dict[str, int] = dict.fromkeys(cameras, -1)
        self.overtaken = 0
        """Frames that a newer one replaced before a step could use them."""

    def clear(self) -> None:
        """Forget all frames and stamps: the clock has jumped."""
        for camera, waiting in self._waiting.items():
            waiting.clear()
            self._last_stamp[camera] = -1

    def offer(self, camera: str, frame: Frame) -> str | None:
        """Take ``frame``, or return why not: ``"duplicate stamp"`` or ``"backward stamp"``."""
        last = self._last_stamp[camera]
        if frame.stamp_ns <= last:
            return "duplicate stamp" if frame.stamp_ns == last else "backward stamp"
        self._last_stamp[camera] = frame.stamp_ns
        waiting = self._waiting[camera]
        self.overtaken += len(waiting) == waiting.maxlen
        waiting.append(frame)
        return None

    def newest(self) -> FrameSet | None:
        """Return the newest set of one unused frame per camera within the slop, the tightest of equals."""
        if not all(self._waiting.values()):
            return None
        sets = [self._around(frame.stamp_ns) for waiting in self._waiting.values() for frame in waiting]
        matched = [found for found in sets if found.spread_ns <= self._slop_ns]
        return max(matched, key=lambda found: (found.stamp_ns, -found.spread_ns), default=None)

    def unmatched(self) -> bool:
        """Whether every camera has a frame waiting and yet no two of them belong together."""
        return all(self._waiting.values()) and self.newest() is None

    def use(self, chosen: FrameSet) -> None:
        """Drop ``chosen`` and whatever is older: from now on only later frames are offered to a step."""
        for camera, waiting in self._waiting.items():
            while waiting and waiting[0].stamp_ns <= chosen.frames[camera].stamp_ns:
                self.overtaken += waiting.popleft().stamp_ns != chosen.frames[camera].stamp_ns

    def _around(self, stamp_ns: int) -> FrameSet:
        """The frame of each camera that is nearest to ``stamp_ns``; each has one."""
        return FrameSet(
            {
                camera: min(waiting, key=lambda frame: abs(frame.stamp_ns - stamp_ns))
                for camera, waiting in self._waiting.items()
            }
        )
