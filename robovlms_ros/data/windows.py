"""Cuts episodes into the windows that a model is trained on: which frames, and which of them are real.

A window is ``W`` observed frames followed by the ``N`` frames that the last chunk reaches into, so ``W + N`` frame
numbers with a mask that is False where a number only fills a place beyond the episode. Window position ``i``
predicts the actions ``i ... i + N - 1``, the current one included; the last frame of a window has no part in that.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.model.errors import ConfigError

Sampling = Literal["sliding", "range"]


class Windows(NamedTuple):
    """Frame numbers ``(windows, W + N)`` and, of the same shape, whether each belongs to the episode."""

    frames: NDArray[np.int64]
    mask: NDArray[np.bool_]


def segment_windows(start: int, end: int, window_size: int, chunk_length: int, skip_frames: int = 1) -> Windows:
    """Windows over frames ``start`` to ``end`` of a longer recording, as for CALVIN's language segments.

    Every ``skip_frames``-th start up to ``end - W`` gives one. From ``end`` on frames do not belong to the
    segment: their places hold the number ``end`` (so that frame must exist) and are masked. A segment shorter
    than the window gives no windows.
    """
    _check(window_size, chunk_length)
    if skip_frames < 1:
        raise ConfigError(f"skip_frames must be at least 1, it is {skip_frames}")
    starts = np.arange(start, end + 1 - window_size, skip_frames, dtype=np.int64)
    frames = starts[:, None] + np.arange(window_size + chunk_length)
    return Windows(np.minimum(frames, end), frames < end)


def episode_windows(
    length: int, window_size: int, chunk_length: int, *, sampling: Sampling = "sliding", left_pad: bool = False
) -> Windows:
    """Windows over a whole episode of ``length`` frames, as for the Open X-Embodiment data.

    Places before the first or after the last frame hold that frame's number and are masked.

    Args:
        length: frames of the episode.
        window_size: observed frames ``W``.
        chunk_length: predicted actions ``N``.
        sampling: ``"sliding"``: one window per step. ``"range"``: ``W`` windows per step, of which window ``k``
            has its first ``k`` frames masked, so that every length of history is seen.
        left_pad: also take windows that begin before the episode; without it the first one begins at frame 0.
    """
    _check(window_size, chunk_length)
    current = np.arange(0 if left_pad else window_size - 1, length, dtype=np.int64)
    frames = current[:, None] + np.arange(1 - window_size, chunk_length + 1)
    mask = (frames >= 0) & (frames < length)
    frames = np.clip(frames, 0, max(length - 1, 0))
    if sampling == "range":
        shown = np.arange(window_size)[:, None] <= np.arange(window_size + chunk_length)
        mask = np.repeat(mask, window_size, axis=0) & np.tile(shown, (len(frames), 1))
        frames = np.repeat(frames, window_size, axis=0)
    return Windows(frames, mask)


def observed_frames(windows: Windows, window_size: int) -> NDArray[np.int64]:
    """The frames whose images a model sees, ``(windows, W)``: masked ones are replaced by the first real one."""
    frames, mask = windows.frames[:, :window_size], windows.mask[:, :window_size]
    first = np.take_along_axis(frames, mask.argmax(axis=1)[:, None], axis=1)
    return np.asarray(np.where(np.cumsum(mask, axis=1) > 0, frames, first))


def chunks(steps: NDArray[np.generic], window_size: int, chunk_length: int) -> NDArray[np.generic]:
    """What each window position predicts: ``(..., W + N, d)`` -> ``(..., W, N, d)``, a view.

    Give a mask a last axis of 1. ``W + N - 1`` steps are enough; a further one is not used.
    """
    _check(window_size, chunk_length)
    needed = window_size + chunk_length - 1
    if steps.shape[-2] < needed:
        raise ConfigError(
            f"a window of {window_size} with chunks of {chunk_length} needs {needed} steps, got {steps.shape[-2]}"
        )
    views = np.lib.stride_tricks.sliding_window_view(steps[..., :needed, :], chunk_length, axis=-2)
    return np.swapaxes(views, -1, -2)


def _check(window_size: int, chunk_length: int) -> None:
    if window_size < 1 or chunk_length < 1:
        raise ConfigError(
            f"window_size and fwd_pred_next_n must be at least 1, they are {window_size} and {chunk_length}"
        )
