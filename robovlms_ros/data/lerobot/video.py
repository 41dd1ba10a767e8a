"""Frames of video files by their time, decoded with PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.data.pixels import PixelError, check_size

# Seconds: what is nearer ahead than this is decoded up to, what is farther is sought.
_DECODE_ON = 2.0


class Video:
    """One open video file; frames asked for in order are decoded once."""

    def __init__(self, path: Path) -> None:
        """Open ``path``. Raises `PixelError`."""
        import av

        self.path = path
        self._errors: tuple[type[Exception], ...] = (av.error.FFmpegError, OSError, ValueError)
        try:
            self._container = av.open(str(path))
            self._stream = self._container.streams.video[0]
            self._stream.thread_type = "AUTO"
        except (*self._errors, IndexError) as error:
            raise PixelError(f"{path.name} cannot be read as a video: {error}") from error
        self._frames: Iterator[Any] = iter(())
        self._next: Any = None
        self._last: tuple[float, Any] | None = None

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def frame(self, seconds: float, tolerance: float) -> NDArray[np.uint8]:
        """The ``(H, W, 3)`` RGB frame nearest to ``seconds``. Raises `PixelError` where none is near enough."""
        try:
            found = self._nearest(seconds)
            if found is None or abs(found[0] - seconds) > tolerance:
                near = "none at all" if found is None else f"the nearest is at {found[0]:.3f} s"
                raise PixelError(f"{self.path.name} has no frame at {seconds:.3f} s: {near}")
            check_size(found[1].height, found[1].width)
            pixels: NDArray[np.uint8] = found[1].to_ndarray(format="rgb24")
            return pixels
        except self._errors as error:
            self._last = None
            if isinstance(error, PixelError):
                raise
            raise PixelError(f"{self.path.name} at {seconds:.3f} s: {error}") from error

    def _nearest(self, seconds: float) -> tuple[float, Any] | None:
        if self._last is None or not self._last[0] <= seconds <= self._last[0] + _DECODE_ON:
            self._seek(seconds)
        while self._next is not None and (self._last is None or self._next[0] <= seconds):
            self._step()
        ahead, behind = self._next, self._last
        if ahead is None or behind is None:
            return behind or ahead
        return behind if seconds - behind[0] <= ahead[0] - seconds else ahead

    def _seek(self, seconds: float) -> None:
        """Go to the key frame before ``seconds``."""
        ticks = seconds / float(self._stream.time_base or 1)
        self._container.seek(max(int(ticks), self._stream.start_time or 0), stream=self._stream)
        self._frames = self._container.decode(self._stream)
        self._last = None
        self._next = None
        self._step()

    def _step(self) -> None:
        self._last = self._next
        frame = next(self._frames, None)
        self._next = None if frame is None or frame.time is None else (float(frame.time), frame)
