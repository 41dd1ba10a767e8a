"""What is wrong with the input of a replay: an error, or with ``--keep-going`` a line in its result."""

from __future__ import annotations

from collections import Counter

from robovlms_ros.replay.errors import ReplayError


class Problems:
    """Collects what is wrong. Without ``keep_going`` the first problem of the input ends the replay."""

    def __init__(self, keep_going: bool = False) -> None:
        self.keep_going = keep_going
        self._first: dict[str, str] = {}
        self._counts: Counter[str] = Counter()
        self._notices: dict[str, str] = {}

    def input(self, kind: str, text: str) -> None:
        """Take a problem of the input. Of each ``kind`` the first is told, and how many there were.

        Raises `ReplayError` without ``keep_going``.
        """
        if not self.keep_going:
            raise ReplayError(f"{text}. --keep-going replays what can be replayed")
        self.told(kind, text)

    def told(self, kind: str, text: str) -> None:
        """Take a problem that ends nothing by itself, like a policy that failed."""
        self._counts[kind] += 1
        self._first.setdefault(kind, text)

    def notice(self, kind: str, text: str) -> None:
        """Take something odd that the node copes with; of each ``kind`` the first is told, and how many."""
        self._counts[kind] += 1
        self._notices.setdefault(kind, text)

    @property
    def problems(self) -> tuple[str, ...]:
        """All problems in words, in the order in which they were met."""
        return self._in_words(self._first)

    @property
    def notices(self) -> tuple[str, ...]:
        """All notices in words."""
        return self._in_words(self._notices)

    def _in_words(self, told: dict[str, str]) -> tuple[str, ...]:
        return tuple(
            text if self._counts[kind] == 1 else f"{text} (the first of {self._counts[kind]})"
            for kind, text in told.items()
        )
