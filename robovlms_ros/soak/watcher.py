"""What must hold for every action that comes out of a node, whatever went into it. Plain data, no ROS.

The watcher is told what was asked of the node (``hush``, ``instruct``, ``new_episode``, ...) and sees all actions.
An action is judged by the time at which it was published, which it carries itself (stamp + latency) on the same
clock, so that a message that took long to arrive is not mistaken for one that was sent too late.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

SECOND = 1_000_000_000
# float64 limits travel as float64; norms are computed in another order than here.
TOLERANCE = 1e-9
# Instructions and parameters take effect when they arrive.
GRACE_NS = SECOND // 2
# images.future_tolerance
FUTURE_NS = SECOND // 5


@dataclass(frozen=True)
class SeenAction:
    """One published action; times in nanoseconds, translation in metres, rotation in radians."""

    stamp_ns: int
    latency_ns: int
    translation: tuple[float, float, float]
    rotation: tuple[float, float, float]
    gripper: float
    model_action: Sequence[float]
    sequence: int
    episode: int
    instruction: str
    saturated: int = 0

    @property
    def published_ns(self) -> int:
        """When it was published."""
        return self.stamp_ns + self.latency_ns

    @property
    def still(self) -> bool:
        """Whether it moves nothing: a stop."""
        return not any(self.translation) and not any(self.rotation)


@dataclass(frozen=True)
class Violation:
    """A rule that was broken, when, how, and what was being done to the nodes."""

    time_ns: int
    rule: str
    text: str
    during: str = ""


@dataclass
class Watcher:
    """Checks every action; ``violations`` fills with what it finds.

    ``max_age_ns``: of an image when its inference starts. ``slack_ns``: what everything but the inference may take
    on this machine. ``inference_ns``: the longest inference that may be under way now. ``translation`` and
    ``rotation``: the limits in force. ``chunk_ns``: how much older than its image an action may be
    that is not the first of its chunk. ``any_stamp``: images without a stamp are about, which get one on arrival.
    ``during``: what is being done to the nodes.
    """

    translation: float
    rotation: float
    max_age_ns: int
    slack_ns: int
    inference_ns: int = 0
    chunk_ns: int = 0
    any_stamp: bool = False
    during: str = ""
    images: int = 0
    actions: int = 0
    stops: int = 0
    lost: int = 0
    limited: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    _silent_since: int | None = None
    _silent_why: str = ""
    _sent: set[int] = field(default_factory=set)
    _spoken: list[tuple[int, str]] = field(default_factory=list)
    _earliest: tuple[int, int] | None = None
    _last: SeenAction | None = None
    _latencies: list[int] = field(default_factory=list)

    # -- what was asked of the node

    def image(self, stamp_ns: int) -> None:
        """An image with this stamp is about to be published."""
        self.images += 1
        self._sent.add(stamp_ns)

    def instruct(self, text: str, now_ns: int) -> None:
        """This instruction is being published; "" for what the node must refuse, too."""
        self._spoken.append((now_ns, text))

    def hush(self, why: str, now_ns: int) -> None:
        """The node has confirmed that it does not act: no action may be published from now on."""
        self._silent_since, self._silent_why = now_ns, why

    def unhush(self) -> None:
        """The node is being asked to act again."""
        self._silent_since = None

    def new_episode(self, episode: int, now_ns: int) -> None:
        """The node has confirmed that ``episode`` begins: nothing of an earlier one may follow."""
        self._earliest = (episode, now_ns)

    def restarted(self) -> None:
        """The node counts from the beginning again."""
        self._last = self._earliest = None

    def limits(self, translation: float, rotation: float) -> None:
        """Other limits are in force."""
        self.translation, self.rotation = translation, rotation

    def fail(self, rule: str, text: str, now_ns: int) -> None:
        """Note a violation that somebody else has found."""
        self.counts[rule] += 1
        if self.counts[rule] <= 20:  # enough to understand; a broken node breaks a rule at every step
            self.violations.append(Violation(now_ns, rule, text, self.during))

    # -- what it does

    def action(self, action: SeenAction) -> None:
        """Judge an action."""
        self.actions += 1
        self.stops += action.still
        self.limited += bool(action.saturated)
        for rule, problem in (
            ("finite", self._not_finite(action)),
            ("limits", self._beyond_limits(action)),
            ("silence", self._unwanted(action)),
            ("freshness", self._too_old(action)),
            ("order", self._out_of_order(action)),
            ("episode", self._of_an_ended_episode(action)),
            ("instruction", self._of_an_old_instruction(action)),
        ):
            if problem:
                where = f"action {action.sequence} of episode {action.episode}"
                self.fail(rule, f"{where}: {problem}", action.published_ns)
        if not action.still:
            self._latencies.append(action.latency_ns)
        self._last = action

    def latency_ms(self, percent: float) -> float:
        """Return a percentile of publish time - stamp; not a number without actions."""
        ordered = sorted(self._latencies)
        return ordered[round((len(ordered) - 1) * percent / 100)] / 1e6 if ordered else math.nan

    def _not_finite(self, action: SeenAction) -> str:
        numbers = (*action.translation, *action.rotation, action.gripper, *action.model_action)
        bad = [number for number in numbers if not math.isfinite(number)]
        return f"it holds {bad[0]}" if bad else ""

    def _beyond_limits(self, action: SeenAction) -> str:
        for name, vector, limit in (
            ("translation", action.translation, self.translation),
            ("rotation", action.rotation, self.rotation),
        ):
            norm = math.hypot(*vector)
            if norm > limit + TOLERANCE:
                return f"its {name} is {norm:.4g}, the limit {limit:.4g}"
        return "" if 0.0 <= action.gripper <= 1.0 else f"its gripper is {action.gripper:.4g}"

    def _unwanted(self, action: SeenAction) -> str:
        if self._silent_since is None or action.published_ns <= self._silent_since:
            return ""
        after = (action.published_ns - self._silent_since) / 1e6
        return f"published {after:.1f} ms after {self._silent_why}"

    def _too_old(self, action: SeenAction) -> str:
        if action.still:
            return ""
        if action.stamp_ns not in self._sent and not self.any_stamp:
            return f"it answers an image of {action.stamp_ns} ns, which was never sent"
        allowed = self.max_age_ns + self.inference_ns + self.chunk_ns + self.slack_ns
        age = action.latency_ns
        if age < -FUTURE_NS:
            return f"its image lies {-age / 1e6:.0f} ms in the future"
        return f"its image was {age / 1e6:.0f} ms old, {allowed / 1e6:.0f} are allowed" if age > allowed else ""

    def _out_of_order(self, action: SeenAction) -> str:
        last = self._last
        if last is None or action.episode > last.episode:
            return "" if action.sequence == 0 or last is None else "its episode does not begin with 0"
        if action.episode < last.episode:
            return f"episode {last.episode} had begun"
        if action.sequence <= last.sequence:
            return f"{last.sequence} came before it"
        if not action.still and not last.still and action.stamp_ns < last.stamp_ns:
            return "its image is older than that of the action before"
        self.lost += action.sequence - last.sequence - 1
        if action.still and last.still:
            return "the arm had been stopped already"
        return ""

    def _of_an_ended_episode(self, action: SeenAction) -> str:
        if self._earliest is None or action.still:
            return ""
        episode, since = self._earliest
        return f"episode {episode} had begun" if action.published_ns > since and action.episode < episode else ""

    def _of_an_old_instruction(self, action: SeenAction) -> str:
        """Each instruction gives way to the next within the grace time, and never comes back."""
        while len(self._spoken) > 1 and self._spoken[1][0] + GRACE_NS < action.published_ns:
            self._spoken.pop(0)
        if action.still or not self._spoken:
            return ""
        allowed = [text for time_ns, text in self._spoken if time_ns <= action.published_ns]
        if action.instruction in allowed and action.instruction:
            # Once the newer one has been followed, the older ones are over.
            del self._spoken[: allowed.index(action.instruction)]
            return ""
        return f"it follows {action.instruction[:40]!r}, not one of {[text[:40] for text in allowed]}"
