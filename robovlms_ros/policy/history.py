"""The last executed actions of an episode, keyed by sequence number so that a lost one leaves a gap."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robovlms_ros.policy.types import HistoryWindow


class ActionHistoryRing:
    """A window over the last ``length`` sequence numbers of one episode.

    A missing number is an invalid row of zeros, never a shift; a late one is filled into its place; another
    episode clears everything. Not thread-safe.
    """

    def __init__(self, length: int, action_dim: int = 7) -> None:
        if length < 1:
            raise ValueError(f"a history needs room for at least one action, got length {length}")
        self.length = length
        self.action_dim = action_dim
        self.episode = 0
        self.sequence = -1
        """Number of the newest row; -1 while the window is empty."""
        self._stamp_ns = 0
        self._rows: dict[int, NDArray[np.float32]] = {}

    def clear(self, episode: int = 0) -> None:
        """Forget all actions and wait for those of ``episode``."""
        self.episode = episode
        self.sequence = -1
        self._stamp_ns = 0
        self._rows.clear()

    def push(self, episode: int, sequence: int, stamp_ns: int, action: ArrayLike) -> bool:
        """Take one executed, normalised action; return False where it came too late for the window.

        Raises ValueError for a wrong size or a value that is not finite.
        """
        row = np.asarray(action, dtype=np.float32)
        if row.shape != (self.action_dim,) or not np.isfinite(row).all():
            raise ValueError(f"an executed action must be {self.action_dim} finite numbers, got {row.tolist()}")
        # A newer image under a number that is not new: the node that counts has started again.
        restarted = sequence <= self.sequence and stamp_ns > self._stamp_ns
        if episode != self.episode or restarted:
            self.clear(episode)
        if sequence <= self.sequence - self.length:
            return False
        self._rows[sequence] = row
        if sequence > self.sequence:
            self.sequence, self._stamp_ns = sequence, stamp_ns
            self._rows = {key: value for key, value in self._rows.items() if key > sequence - self.length}
        return True

    def window(self, until: int | None = None) -> HistoryWindow:
        """Return the ``length`` rows that end with sequence number ``until`` (default: the newest).

        With ``until`` ahead of the newest row, the rows that have not arrived are invalid: lag is marked.
        """
        until = self.sequence if until is None else until
        actions = np.zeros((self.length, self.action_dim), dtype=np.float32)
        valid = np.zeros(self.length, dtype=np.bool_)
        for sequence, row in self._rows.items():
            index = self.length - 1 - (until - sequence)
            if 0 <= index < self.length:
                actions[index] = row
                valid[index] = True
        return HistoryWindow(actions, valid)


def align_window(window: HistoryWindow, sequence: int, until: int, length: int) -> HistoryWindow:
    """Return the ``length`` rows up to number ``until`` of a window whose newest row is ``sequence``.

    Rows that ``window`` does not hold, on either side, are invalid.
    """
    actions = np.zeros((length, window.actions.shape[1]), dtype=np.float32)
    valid = np.zeros(length, dtype=np.bool_)
    # Both windows as spans of sequence numbers, [first, last].
    first, last = max(until - length, sequence - len(window.valid)) + 1, min(until, sequence)
    if first <= last:
        source = slice(first - 1 - sequence + len(window.valid), last - sequence + len(window.valid))
        target = slice(first - 1 - until + length, last - until + length)
        actions[target] = window.actions[source]
        valid[target] = window.valid[source]
    return HistoryWindow(actions, valid)
