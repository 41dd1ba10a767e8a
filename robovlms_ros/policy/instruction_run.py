"""One run of an instruction for somebody who waits for its end: limits, steps, and why it ended.

Several things may end a run in the same instant: its limits, whoever asked for it, whoever stops the robot. Each
names itself, and the first one counts. Times are nanoseconds of the ROS clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from robovlms_ros.policy.controller import CLOCK_JUMP_NS


class Termination(IntEnum):
    """Why a run ended. The numbers are those of RunInstruction.action."""

    MAX_STEPS = 1
    MAX_DURATION = 2
    CANCELED = 3
    PREEMPTED = 4
    DEACTIVATED = 5
    DISABLED = 6
    FAILED = 7
    CLOCK_JUMP = 8


@dataclass(frozen=True)
class Ending:
    """How a run ended: the reason, its message for people, the steps made and the time taken."""

    reason: Termination
    message: str
    steps: int
    elapsed_ns: int


class InstructionRun:
    """Counts the steps of one run and decides when it is over. Not thread-safe.

    ``max_duration_ns`` and ``max_steps``: 0 = no limit. ``step_ns`` is what one action is meant to take: the last
    of ``max_steps`` is given that time before the run ends.
    """

    def __init__(
        self, instruction: str, started_ns: int, *, max_duration_ns: int = 0, max_steps: int = 0, step_ns: int = 0
    ) -> None:
        self.instruction = instruction
        self.max_steps = max_steps
        self.steps = 0
        self.latency_ns = 0
        """Of the newest action: publish time - stamp of its image."""
        self.ending: Ending | None = None
        self._started_ns = self._now_ns = self._acted_ns = started_ns
        self._max_duration_ns = max_duration_ns
        self._step_ns = step_ns

    def acted(self, stamp_ns: int, now_ns: int) -> None:
        """Count an action that answers an image of ``stamp_ns`` and was published now."""
        self.steps += 1
        self.latency_ns = max(0, now_ns - stamp_ns)
        self._acted_ns = now_ns

    def elapsed_ns(self, now_ns: int) -> int:
        """Time since the start; never negative."""
        return max(0, now_ns - self._started_ns)

    def observe(self, now_ns: int) -> bool:
        """Note the time; return whether the run is over, now or before."""
        if now_ns < self._now_ns - CLOCK_JUMP_NS:
            self.end(Termination.CLOCK_JUMP, "the ROS clock went back", self._now_ns)
        elif self.max_steps and self.steps >= self.max_steps and now_ns - self._acted_ns >= self._step_ns:
            self.end(Termination.MAX_STEPS, f"{self.steps} of {self.max_steps} actions were published", now_ns)
        elif self._max_duration_ns and self.elapsed_ns(now_ns) >= self._max_duration_ns:
            seconds = self._max_duration_ns * 1e-9
            self.end(Termination.MAX_DURATION, f"the {seconds:g} s allowed are over", now_ns)
        self._now_ns = max(self._now_ns, now_ns)
        return self.ending is not None

    def end(self, reason: Termination, message: str, now_ns: int) -> bool:
        """End the run, unless it has ended already; return whether it was this that ended it."""
        if self.ending is not None:
            return False
        self.ending = Ending(reason, message, self.steps, self.elapsed_ns(now_ns))
        return True
