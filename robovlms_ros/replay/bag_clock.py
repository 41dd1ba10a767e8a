"""The time of a bag that is played: it starts, stands still, and runs faster or slower than ours."""

from __future__ import annotations

import time
from collections.abc import Callable

NANOSECONDS = 1_000_000_000


class BagClock:
    """Nanoseconds of a bag's time. ``steady`` gives our own in seconds. It stands still until `start`.

    Not for several threads at once, but for one that reads while another changes the rate or pauses.
    """

    def __init__(self, now_ns: int, rate: float = 1.0, steady: Callable[[], float] = time.monotonic) -> None:
        self._steady = steady
        self._base = (now_ns, 0.0)
        """The bag's time at one of ours."""
        self._running = False
        self._rate = self._checked(rate)

    @property
    def now_ns(self) -> int:
        """The bag's time at this moment."""
        base_ns, since = self._base
        return base_ns + round((self._steady() - since) * self._rate * NANOSECONDS) if self._running else base_ns

    @property
    def rate(self) -> float:
        """Seconds of the bag's time in one of ours."""
        return self._rate

    @rate.setter
    def rate(self, rate: float) -> None:
        self._base = (self.now_ns, self._steady())
        self._rate = self._checked(rate)

    @property
    def running(self) -> bool:
        """Whether it moves."""
        return self._running

    def set(self, now_ns: int) -> None:
        """Jump to a time of the bag."""
        self._base = (now_ns, self._steady())

    def start(self) -> None:
        """Move from now on."""
        self._base = (self.now_ns, self._steady())
        self._running = True

    def pause(self) -> None:
        """Stand still until `start`."""
        self._base = (self.now_ns, self._steady())
        self._running = False

    @staticmethod
    def _checked(rate: float) -> float:
        if not rate > 0:
            raise ValueError(f"the rate must be positive, got {rate}")
        return rate
