"""An episode as it was recorded: it may have steps that cannot be used, at which a conversion divides it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.data.errors import DataError
from robovlms_ros.data.images import decode
from robovlms_ros.data.pixels import PixelError

NOT_FINITE = "an action or state is NaN or infinite"


@dataclass(frozen=True)
class RecordedEpisode:
    """What readers of recordings give; an `robovlms_ros.data.episodes.Episode` where ``faults`` is empty.

    Args:
        identifier: unique within its source.
        instruction: what the robot was told.
        step_duration: seconds between steps.
        actions: ``(T, 7)``; the rows of faulty steps mean nothing.
        cameras: of ``"static"`` and ``"hand"``.
        read_image: ``(camera, step)`` -> a JPEG or PNG as bytes, or ``(H, W, 3)`` uint8 RGB. Raises `PixelError`.
        states: ``(T, 7)`` or None.
        stamps: ``(T,)`` nanoseconds or None.
        faults: steps that cannot be used, with the reason.
        details: of some of them, what exactly.
    """

    identifier: str
    instruction: str
    step_duration: float
    actions: NDArray[np.float64]
    cameras: tuple[str, ...]
    read_image: Callable[[str, int], bytes | NDArray[np.uint8]]
    states: NDArray[np.float64] | None = None
    stamps: NDArray[np.int64] | None = None
    faults: Mapping[int, str] = field(default_factory=dict)
    details: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.actions)

    def image(self, camera: str, step: int) -> NDArray[np.uint8]:
        """The ``(H, W, 3)`` RGB pixels at ``step``. Raises `DataError` where they cannot be had."""
        try:
            found = self.read_image(camera, step)
            return decode(found) if isinstance(found, bytes) else found
        except PixelError as error:
            raise DataError(f"episode {self.identifier}, step {step}, camera {camera}: {error}") from error


def faults_of(actions: NDArray[np.float64], states: NDArray[np.float64] | None = None) -> dict[int, str]:
    """The steps at which a number is NaN or infinite."""
    finite = np.isfinite(actions).all(axis=1)
    if states is not None:
        finite &= np.isfinite(states).all(axis=1)
    return dict.fromkeys(np.flatnonzero(~finite).tolist(), NOT_FINITE)
