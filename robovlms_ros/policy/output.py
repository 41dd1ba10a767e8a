"""From predictions to published actions: limits, numbers, the record of what the arm was told, and its stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.policy.decision import Action, ControlSettings, LimitedChunk, Profile, Request
from robovlms_ros.policy.episode import Episode
from robovlms_ros.policy.limiting import as_predicted, limit_chunk, limit_rest, limit_step
from robovlms_ros.policy.safety import ACTION_DIM, GRIPPER, ActionError, Limits
from robovlms_ros.policy.schedule import Prediction, ScheduledStep
from robovlms_ros.policy.types import ActionChunk


@dataclass(frozen=True)
class Moment:
    """What an action depends on beside its prediction. ``position``: ``(3,)``, the tool in metres, if known."""

    now_ns: int
    step_ns: int
    instruction: str
    settings: ControlSettings
    position: NDArray[np.float64] | None


class Output:
    """Makes every action that is published, and records it as part of ``episode``. Not thread-safe.

    Where no limit applies, finite predictions can give one that is not: the mean of numbers near 1e308, or the
    same in the model's words. ``answer`` and ``execute`` then raise ActionError, and nothing has happened.
    """

    def __init__(self, profile: Profile, episode: Episode) -> None:
        self._profile = profile
        self._episode = episode
        self.last_action: Action | None = None
        """Newest action that moves; None where the arm has nothing to be stopped from."""
        self._moved_ns = 0
        self._step_index = 0
        self._chunk_size = 1

    def answer(self, request: Request, chunk: ActionChunk, moment: Moment) -> Action:
        """Return the action that answers the image of ``request``: the first of what the session gave."""
        orientation = self._profile.orientation(request.state)
        limits = moment.settings.limits
        limited = limit_chunk(chunk, self._profile, limits, position=moment.position, orientation=orientation)
        # By contract the timings are empty where the session only went on with the last chunk.
        fresh = request.execute_horizon == 1 or bool(chunk.timings)
        self._step_index = 0 if fresh else self._step_index + 1
        self._chunk_size = len(chunk) if fresh else self._chunk_size
        place, stamp_ns = (self._step_index, self._chunk_size), request.chosen.stamp_ns
        rows = limited if fresh else None
        return self._move(limited, stamp_ns, place, moment, rows, chunk.timings)

    def predicted(self, request: Request, chunk: ActionChunk, limits: Limits) -> Prediction:
        """Return the answer to ``request`` for the schedule, in all limits that do not ask where the tool is."""
        orientation = self._profile.orientation(request.state)
        anywhere = replace(limits, workspace=None)
        limited = limit_chunk(chunk, self._profile, anywhere, orientation=orientation)
        return Prediction(request.chosen.stamp_ns, limited, chunk.timings, orientation)

    def execute(self, step: ScheduledStep, moment: Moment) -> Action:
        """Return the action for a step of the schedule, under the limits of now."""
        limits = moment.settings.limits
        row = limit_step(step, self._profile, limits, moment.position)
        newest, place = step.newest, (step.index, len(step.newest))
        if not step.first:
            return self._move(row, newest.stamp_ns, place, moment)
        rest = limit_rest(step, self._profile, limits, moment.position)
        return self._move(row, newest.stamp_ns, place, moment, rest, newest.timings)

    def stand_still(self, now_ns: int) -> Action | None:
        """Return an action of no motion that holds the gripper; None where the arm does not move."""
        moving = self.last_action
        if moving is None:
            return None
        action = np.zeros(ACTION_DIM)
        action[GRIPPER] = moving.action[GRIPPER]
        # No motion is none in any orientation.
        normalized = as_predicted(action[None], self._profile, np.zeros(3))[0]
        number, sequence = self._episode.number, self._episode.sequence
        still = Action(now_ns, number, sequence, moving.instruction, action, normalized, stop=True)
        self._episode.record(still)
        return still

    def stop(self, now_ns: int) -> Action | None:
        """Return one action as ``stand_still`` does; from now on the arm has nothing to be stopped from."""
        still = self.stand_still(now_ns)
        self.last_action = None
        return still

    def acted_within(self, now_ns: int, duration_ns: int) -> bool:
        """Whether the last action that moves is at most ``duration_ns`` ago."""
        return now_ns - self._moved_ns <= duration_ns

    def overdue(self, now_ns: int, timeout_ns: int) -> bool:
        """Whether the arm moves and no action came for longer than ``timeout_ns`` (0 = never)."""
        return timeout_ns > 0 and self.last_action is not None and now_ns - self._moved_ns > timeout_ns

    def _move(
        self,
        rows: LimitedChunk,
        stamp_ns: int,
        place: tuple[int, int],
        moment: Moment,
        chunk: LimitedChunk | None = None,
        timings: Mapping[str, float] | None = None,
    ) -> Action:
        if not (np.isfinite(rows.actions[0]).all() and np.isfinite(rows.normalized[0]).all()):
            raise ActionError("not finite", f"the action to publish is {rows.actions[0].tolist()}")
        action = Action(
            stamp_ns=stamp_ns,
            episode=self._episode.number,
            sequence=self._episode.sequence,
            instruction=moment.instruction,
            action=rows.actions[0],
            normalized=rows.normalized[0],
            saturated=int(rows.saturated[0]),
            step_index=place[0],
            chunk_size=place[1],
            chunk=chunk,
            timings=timings or {},
        )
        self._episode.record(action)
        self.last_action, self._moved_ns = action, moment.now_ns
        return action
