"""From checked answers to actions: at once where an image is answered, by the schedule where chunks go on."""

from __future__ import annotations

from collections import Counter

from robovlms_ros.policy.decision import Action, Hold, Profile, Request
from robovlms_ros.policy.episode import Episode
from robovlms_ros.policy.output import Moment, Output
from robovlms_ros.policy.safety import ActionError
from robovlms_ros.policy.schedule import ChunkSchedule
from robovlms_ros.policy.types import ActionChunk


class Execution:
    """Decides what leaves at a moment at which something may. Not thread-safe.

    ``counts`` gets what gave no action, by reason.
    """

    def __init__(self, profile: Profile, episode: Episode, counts: Counter[str]) -> None:
        self.output = Output(profile, episode)
        self.schedule = ChunkSchedule(counts)
        self._counts = counts

    def answer(self, request: Request, chunk: ActionChunk, moment: Moment) -> Action | Hold:
        """Return the action that a new chunk gives; with overlap it is only put on the schedule."""
        settings = moment.settings.chunk
        if settings.scheduled:
            self.schedule.add(self.output.predicted(request, chunk, moment.settings.limits))
            return Hold.EXECUTING if settings.overlap else self._next(moment) or Hold.LATE
        try:
            return self.output.answer(request, chunk, moment)
        except ActionError as error:
            self._counts[error.kind] += 1
            return Hold.NOT_FINITE

    def tick(self, moment: Moment) -> Action | Hold:
        """Return the action for the step that begins now; what starvation gives is marked as ``stop``."""
        return self._next(moment) or self.starve(moment) or Hold.STARVED

    def starve(self, moment: Moment) -> Action | None:
        """Return what an arm is told that still moves when nothing is left to execute."""
        if self.output.last_action is None:
            return None
        self._counts["starved"] += 1
        policy = moment.settings.chunk.starvation
        if policy == "stop":
            return self.output.stop(moment.now_ns)
        return self.output.stand_still(moment.now_ns) if policy == "zero" else None

    def _next(self, moment: Moment) -> Action | None:
        """The next action of the schedule; None where it has none."""
        step = self.schedule.next(moment.now_ns, moment.step_ns, moment.settings.chunk)
        if step is None:
            return None
        try:
            return self.output.execute(step, moment)
        except ActionError as error:
            self._counts[error.kind] += 1
            return None
