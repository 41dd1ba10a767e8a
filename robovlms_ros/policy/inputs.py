"""What a controller has been shown: camera frames and the robot's state, and which of them a step uses."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.policy.decision import ControlSettings, Hold
from robovlms_ros.policy.frames import Frame, FrameBuffer, FrameSet
from robovlms_ros.policy.robot_state import RobotStates

# Camera stamps jitter; a frame this much before it is due is on time.
RATE_TOLERANCE_NS = 1_000_000


class Inputs:
    """Keeps the newest frames and states, refuses what must not be used, and counts what it refuses.

    With ``needs_state`` frames wait for the robot's state. Not thread-safe.
    """

    def __init__(self, frames: FrameBuffer, states: RobotStates, needs_state: bool, counts: Counter[str]) -> None:
        self._frames = frames
        self._states = states
        self._needs_state = needs_state
        self._counts = counts
        self._due_ns = 0

    @property
    def overtaken(self) -> int:
        """Frames that a newer one replaced before they could be used."""
        return self._frames.overtaken

    def clear(self) -> None:
        """Forget everything: the clock has jumped."""
        self._frames.clear()
        self._states.clear()

    def restart_pace(self) -> None:
        """Take the next frame whenever it comes."""
        self._due_ns = 0

    def offer(self, camera: str, frame: Frame, latest_ns: int) -> str | None:
        """Take a frame stamped not after ``latest_ns``; return None, or why it is dropped (counted)."""
        late = frame.stamp_ns > latest_ns
        return self._counted("future stamp" if late else self._frames.offer(camera, frame))

    def offer_state(self, part: str, stamp_ns: int, values: NDArray[np.float64], latest_ns: int) -> str | None:
        """Take a sample stamped not after ``latest_ns``; return None, or why it is dropped (counted)."""
        late = stamp_ns > latest_ns
        return self._counted("future state" if late else self._states.offer(part, stamp_ns, values))

    def choose(self, now_ns: int, settings: ControlSettings) -> tuple[FrameSet, NDArray[np.float64] | None] | Hold:
        """Return the newest frames, and the state at their time; they count as used, unless a state is awaited."""
        chosen = self._frames.newest()
        if chosen is None:
            return Hold.UNMATCHED if self._frames.unmatched() else Hold.NO_FRAME
        paced = settings.rate > 0.0 and not settings.chunk.overlap
        if paced and chosen.stamp_ns + RATE_TOLERANCE_NS < self._due_ns:
            return Hold.NOT_DUE
        if now_ns - chosen.stamp_ns > settings.max_age_ns:
            self._frames.use(chosen)
            self._counts["stale image"] += 1
            return Hold.STALE
        state = self._states.at(chosen.stamp_ns)
        if state is None and self._needs_state:
            return Hold.NO_STATE
        if self.lost(now_ns, settings):
            return Hold.NO_POSE
        self._frames.use(chosen)
        if paced:
            self._advance_due(chosen.stamp_ns, round(1e9 / settings.rate))
        return chosen, state

    def position(self, now_ns: int) -> NDArray[np.float64] | None:
        """Return where the tool is now, ``(3,)`` metres, or None where nobody knows."""
        return self._states.position(now_ns)

    def lost(self, now_ns: int, settings: ControlSettings) -> bool:
        """Whether there is a workspace to keep the tool in, and nobody knows where the tool is."""
        return settings.limits.workspace is not None and self.position(now_ns) is None

    def _counted(self, reason: str | None) -> str | None:
        if reason:
            self._counts[reason] += 1
        return reason

    def _advance_due(self, stamp_ns: int, period_ns: int) -> None:
        """Pace along a grid, so that jitter of the stamps does not lower the rate."""
        on_grid = stamp_ns - self._due_ns < period_ns
        self._due_ns = (self._due_ns if on_grid else stamp_ns) + period_ns
