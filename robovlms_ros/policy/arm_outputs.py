"""What an arm is being told right now, as a function of time: a velocity, a target pose, finger positions.

Each class is one output with its state. ``start`` takes an action and returns what to send at once, ``tick`` what
to send as time goes on; both may return None. ``due_ns`` is when the next ``tick`` has something to do; None means
that nothing will happen by itself. Times are nanoseconds of the ROS clock. Not thread-safe.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.policy.arm_command import CommandError, Pose, finger_positions, keep_near, moved, unitless

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TwistSettings:
    """How velocities are sent.

    ``hold``: an action moves the arm for so many times its step duration at most. ``period_ns``: time between
    repetitions, 0 = each velocity once. ``scales``: m/s and rad/s that are 1 in unitless twists, None = speeds.
    """

    hold: float = 1.0
    period_ns: int = 20_000_000
    scales: tuple[float, float] | None = None


class TwistOutput:
    """One action is a constant velocity for its step duration, and then zero, once.

    Held for exactly one step, the velocity over time adds up to the action's displacement, unless the next
    action comes earlier and takes its place.
    """

    def __init__(self, settings: TwistSettings, counts: Counter[str]) -> None:
        self.settings = settings
        self._counts = counts
        self._velocity: Array | None = None
        self._end_ns = self._next_ns = 0

    @property
    def moving(self) -> bool:
        """Whether the last velocity sent was not zero."""
        return self._velocity is not None

    @property
    def due_ns(self) -> int | None:
        """See the module."""
        if self._velocity is None:
            return None
        return min(self._end_ns, self._next_ns) if self.settings.period_ns else self._end_ns

    def start(self, motion: Array, step_ns: int, now_ns: int) -> Array:
        """Take a displacement ``(6,)`` and return its velocity; one that is zero stops the arm at once."""
        velocity = motion / (step_ns * 1e-9)
        if self.settings.scales is not None:
            velocity, shortened = unitless(velocity, *self.settings.scales)
            if shortened:
                self._counts["twist beyond its scale"] += 1
        self._velocity = velocity if velocity.any() else None
        self._end_ns = now_ns + round(step_ns * self.settings.hold)
        self._next_ns = now_ns + self.settings.period_ns
        return velocity

    def tick(self, now_ns: int) -> Array | None:
        """Return zero once the time of the action is over, before that its velocity when it is due again."""
        if self._velocity is None:
            return None
        if now_ns >= self._end_ns:
            return self.stop()
        if self.settings.period_ns == 0 or now_ns < self._next_ns:
            return None
        # Along a grid, unless it was missed by a whole period: no burst of repetitions makes up for a pause.
        self._next_ns += self.settings.period_ns
        if self._next_ns <= now_ns:
            self._next_ns = now_ns + self.settings.period_ns
        return self._velocity

    def stop(self) -> Array | None:
        """Return zero if the arm was moving, else None."""
        velocity, self._velocity = self._velocity, None
        return None if velocity is None else np.zeros(6)


@dataclass(frozen=True)
class PoseSettings:
    """How targets are formed and sent.

    ``anchor``: a displacement starts from the ``measured`` pose, or from the pose ``commanded`` last. The target
    is kept within ``lead`` (metres, radians) of the measured pose, so that a blocked arm does not wind up; the
    measured pose must not be older than ``max_age_ns``. ``period_ns``: time between targets on the way, 0 = the
    end of the way at once.
    """

    anchor: Literal["measured", "commanded"] = "commanded"
    max_age_ns: int = 200_000_000
    lead: tuple[float, float] = (math.inf, math.inf)
    period_ns: int = 20_000_000


class PoseOutput:
    """One action takes the target along a straight line, in its step duration, and leaves it there."""

    def __init__(self, settings: PoseSettings, counts: Counter[str]) -> None:
        self.settings = settings
        self.problem: CommandError | None = None
        """Why the last action gave no target; None where it gave one."""
        self.tool_ns: int | None = None
        """Stamp of the measured pose; None where there is none."""
        self._counts = counts
        self._tool: Pose | None = None
        self._target: Pose | None = None
        self._anchored = False
        self._way: _Way | None = None

    @property
    def moving(self) -> bool:
        """Whether the target is on its way."""
        return self._way is not None

    @property
    def due_ns(self) -> int | None:
        """See the module."""
        return self._way.next_ns if self._way else None

    def offer(self, pose: Pose, stamp_ns: int) -> None:
        """Take the measured pose of the tool."""
        self.tool_ns, self._tool = stamp_ns, pose

    def tool(self, frame: str, now_ns: int) -> Pose:
        """Return the measured pose in ``frame``. Raises CommandError where there is none that can be used."""
        pose, stamp_ns = self._tool, self.tool_ns
        if pose is None or stamp_ns is None:
            raise CommandError("no tool pose", "no tool pose has arrived yet")
        if pose.frame != frame:
            raise CommandError(
                "frames differ", f"the action is in frame {frame!r} and the tool pose in {pose.frame!r}"
            )
        age = (now_ns - stamp_ns) * 1e-9
        # A stamp ahead of the clock by as much is no better: the clocks disagree.
        if abs(age) > self.settings.max_age_ns * 1e-9:
            raise CommandError("tool pose too old", f"the tool pose is {age:.3f} s old")
        return pose

    def start(self, frame: str, motion: Array, step_ns: int, now_ns: int) -> Pose | None:
        """Take a displacement ``(6,)`` in ``frame``; return the target to send at once, if any.

        Raises CommandError where the measured pose cannot be used; the next motion starts from the measured pose.
        """
        if not motion.any():
            return self._hold(frame, now_ns)
        self._way = None
        target = None
        try:
            tool = self.tool(frame, now_ns)
            start = self._target if self._anchored and self._target else tool
            if self.settings.period_ns:
                first_ns = now_ns + min(self.settings.period_ns, step_ns)
                self._way = _Way(start, motion, now_ns, step_ns, first_ns)
            else:
                target = self._near(moved(start, motion), tool)
        except CommandError as error:
            self._lose(error)
            raise
        self._target = target or start
        self._anchored = self.settings.anchor == "commanded"
        self.problem = None
        return target

    def tick(self, now_ns: int) -> Pose | None:
        """Return the next target on the way, or None. The way ends early where the tool's pose is lost."""
        way = self._way
        if way is None or now_ns < way.next_ns:
            return None
        share = min(1.0, (now_ns - way.start_ns) / way.step_ns)
        way.next_ns = min(now_ns + self.settings.period_ns, way.start_ns + way.step_ns)
        if share == 1.0:
            self._way = None
        try:
            tool = self.tool(way.start.frame, now_ns)
            self._target = self._near(moved(way.start, way.motion * share), tool)
        except CommandError as error:
            self._counts[f"no target: {error.kind}"] += 1
            self._lose(error)
            return None
        return self._target

    def stop(self) -> None:
        """Leave the target where it is now; the next motion starts from the measured pose."""
        self._way, self._anchored = None, False

    def reset(self) -> None:
        """Forget the target: an episode has ended."""
        self._way, self._target, self._anchored = None, None, False

    def forget_tool(self) -> None:
        """Forget the measured pose: the clock has jumped."""
        self._tool = self.tool_ns = None

    def _hold(self, frame: str, now_ns: int) -> Pose | None:
        """Return the target that stops the arm: the one it has, or where it is. Without either there is none."""
        self.stop()
        if self.settings.anchor == "commanded" and self._target is not None:
            return self._target
        try:
            self._target = self.tool(frame, now_ns)
        except CommandError:
            return None  # the last target, if any, stands; a stop is nothing to complain about
        return self._target

    def _near(self, target: Pose, tool: Pose) -> Pose:
        target, drawn = keep_near(target, tool, *self.settings.lead)
        if drawn:
            self._counts["target drawn back to the tool"] += 1
        return target

    def _lose(self, error: CommandError) -> None:
        self.problem = error
        self.reset()


@dataclass
class _Way:
    """From ``start`` by ``motion``, within ``step_ns``; ``next_ns`` is when the next target is due."""

    start: Pose
    motion: Array
    start_ns: int
    step_ns: int
    next_ns: int


@dataclass(frozen=True)
class GripperSettings:
    """Positions of each finger joint at the ends of the stroke; ``repeat_ns``: when to say it again, 0 = never."""

    closed: tuple[float, ...] = (0.0,)
    opened: tuple[float, ...] = (1.0,)
    repeat_ns: int = 0


class GripperOutput:
    """Finger positions, sent when they change and again from time to time while actions come."""

    def __init__(self, settings: GripperSettings) -> None:
        self.settings = settings
        self.positions: tuple[float, ...] | None = None
        """Where the fingers were told to be; None before the first action."""
        self._sent_ns: int | None = None

    def start(self, opening: float, now_ns: int) -> tuple[float, ...] | None:
        """Take an opening in [0, 1] and return the positions to send, or None where they have been sent."""
        positions = finger_positions(opening, self.settings.closed, self.settings.opened)
        repeat_ns = self.settings.repeat_ns
        fresh = self._sent_ns is not None and (repeat_ns == 0 or now_ns - self._sent_ns < repeat_ns)
        if positions == self.positions and fresh:
            return None
        self.positions, self._sent_ns = positions, now_ns
        return positions

    def reset(self) -> None:
        """Send the next command even if it is the same."""
        self._sent_ns = None
