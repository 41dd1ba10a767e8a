"""What a robot's gripper does with the model's open/close answers: small state machines, one per convention.

Each takes one answer per control step (True = open) and returns the opening to command, 0 = closed, 1 = open.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Protocol


class Gripper(Protocol):
    """One episode's gripper."""

    def step(self, wants_open: bool) -> float:
        """Advance by one control step; the opening to command, in [0, 1]."""


class ThresholdGripper:
    """CALVIN: the answer is the command."""

    def step(self, wants_open: bool) -> float:
        """Advance by one control step; the opening to command, in [0, 1]."""
        return float(wants_open)


class ConsecutiveGripper:
    """WidowX: opens only after ``open_after`` answers in a row said so, and closes at once."""

    def __init__(self, open_after: int = 2) -> None:
        self._open_after = open_after
        self._in_a_row = 0

    def step(self, wants_open: bool) -> float:
        """Advance by one control step; the opening to command, in [0, 1]."""
        self._in_a_row = self._in_a_row + 1 if wants_open else 0
        return float(self._in_a_row >= self._open_after)


class StickyGripper:
    """Google robot: a *change* of the answer is a command, repeated for ``hold_steps`` steps.

    The robot takes relative commands, kept in `relative`: -2 opens, +2 closes, 0 holds. A change during a
    repetition is swallowed, as in upstream's SimplerEnv wrapper. The opening is where these commands lead.
    """

    def __init__(self, hold_steps: int = 2, initial_opening: float = 1.0) -> None:
        self._hold_steps = hold_steps
        self._opening = initial_opening
        self._previous: float | None = None
        self._latched = 0.0
        self._remaining = 0
        self.relative = 0.0

    def step(self, wants_open: bool) -> float:
        """Advance by one control step; the opening to command, in [0, 1]."""
        current = 1.0 if wants_open else -1.0
        change = 0.0 if self._previous is None else self._previous - current
        self._previous = current
        if change and not self._remaining:
            self._latched, self._remaining = change, self._hold_steps
        self.relative = self._latched if self._remaining else 0.0
        if self._remaining:
            self._remaining -= 1
            self._opening = float(self._latched < 0)
        return self._opening


def advance(gripper: Gripper, wants_open: Sequence[bool]) -> list[float]:
    """Openings for a chunk: its first row advances the gripper, the later ones are a preview on a copy."""
    first = gripper.step(wants_open[0])
    preview = copy.copy(gripper)
    return [first, *(preview.step(wanted) for wanted in wants_open[1:])]
