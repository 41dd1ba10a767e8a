"""One episode as the controller counts it: its number, its actions, and the history that the model is shown."""

from __future__ import annotations

from dataclasses import dataclass

from robovlms_ros.policy.decision import Action
from robovlms_ros.policy.history import ActionHistoryRing, align_window
from robovlms_ros.policy.types import HistoryWindow


@dataclass
class HistoryLag:
    """How far the windows of the history node were behind the published actions when they were used.

    ``rows`` is what the last window lacked and ``most`` what any did; ``behind`` of all ``windows`` lacked some.
    """

    windows: int = 0
    behind: int = 0
    rows: int = 0
    most: int = 0

    def add(self, rows: int) -> None:
        """Count a window that lacked the newest ``rows`` actions."""
        self.windows += 1
        self.behind += rows > 0
        self.rows = rows
        self.most = max(self.most, rows)


class Episode:
    """Numbers the actions of an episode and remembers those that were executed. Not thread-safe.

    ``internal_history`` keeps the executed actions here; otherwise they come back through ``receive``.
    """

    def __init__(self, history_length: int, internal_history: bool) -> None:
        self.number = 0
        self.sequence = 0
        """Number of the next action, which is how many there have been."""
        self.lag = HistoryLag()
        self._internal = internal_history
        self._ring = ActionHistoryRing(history_length)
        self._received: tuple[int, int, HistoryWindow] | None = None

    def next(self) -> None:
        """Begin the next episode: what was executed, received and counted belongs to the past."""
        self.number += 1
        self.sequence = 0
        self._received = None
        self._ring.clear(self.number)

    def record(self, action: Action) -> None:
        """Take an action that is published now, as it is executed."""
        self.sequence += 1
        if self._internal:
            self._ring.push(action.episode, action.sequence, action.stamp_ns, action.normalized)

    @property
    def received(self) -> tuple[int, int] | None:
        """Episode and newest row's number of the window that was received last in this episode, if any."""
        return self._received[:2] if self._received else None

    @property
    def history_behind(self) -> bool:
        """Whether an action of this episode is missing in the window that ``history`` would return."""
        if self._internal or self.sequence == 0:
            return False
        return self._received is None or self._received[0] != self.number or self._received[1] < self.sequence - 1

    def receive(self, episode: int, sequence: int, window: HistoryWindow) -> None:
        """Take the window of the history node; ``sequence`` is the number of its newest row."""
        self._received = (episode, sequence, window)

    def history(self) -> HistoryWindow:
        """The window that ends with the last published action; what has not arrived is invalid."""
        until = self.sequence - 1
        if self._internal:
            return self._ring.window(until)
        if self._received is None or self._received[0] != self.number:
            self.lag.add(self.sequence)
            return self._ring.window(until)  # in which nothing is
        _, sequence, window = self._received
        self.lag.add(max(0, until - sequence))
        return align_window(window, sequence, until, self._ring.length)
