"""What the arm is asked to do, and whether it may move at all."""

from __future__ import annotations

from robovlms_ros.policy.decision import ControlSettings, Hold


class Mandate:
    """The instruction, and when it was heard last. Not thread-safe."""

    def __init__(self) -> None:
        self.instruction: str | None = None
        """Cleaned text, "" to stop; None before the first."""
        self.actions_left: int | None = None
        """Actions that may still answer it; None = no bound."""
        self._heard_ns = 0

    def take(self, instruction: str) -> str | None:
        """Go by ``instruction`` from now on, without a bound if it is another one; return the one before."""
        before, self.instruction = self.instruction, instruction
        if instruction != before:
            self.actions_left = None
        return before

    def spend(self) -> None:
        """Note that an action is published."""
        if self.actions_left:
            self.actions_left -= 1

    def hear(self, now_ns: int) -> None:
        """Note that the instruction was given, or given again."""
        self._heard_ns = now_ns

    def clock_jumped(self, now_ns: int) -> None:
        """Take the instruction as heard now at the latest: its age must not count back from a future."""
        self._heard_ns = min(self._heard_ns, now_ns)

    def unheard(self, now_ns: int, max_age_ns: int) -> bool:
        """Whether there is an instruction that was not heard for longer than ``max_age_ns`` (0 = never)."""
        return bool(max_age_ns and self.instruction and now_ns - self._heard_ns > max_age_ns)

    def barred(self, now_ns: int, settings: ControlSettings) -> Hold | None:
        """Why nothing may be inferred or published now, whatever there is; None where it may."""
        if now_ns <= 0:
            return Hold.NO_CLOCK
        if not settings.enabled:
            return Hold.DISABLED
        if not self.instruction:
            return Hold.NO_INSTRUCTION if self.instruction is None else Hold.STOPPED
        if self.actions_left == 0:
            return Hold.SPENT
        return Hold.UNHEARD if self.unheard(now_ns, settings.instruction_max_age_ns) else None
