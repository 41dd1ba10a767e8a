"""How long actions take, stage by stage, and whether they come as fast as the arm needs them."""

from __future__ import annotations

from collections import deque

from robovlms_ros.policy.decision import Action
from robovlms_ros.policy.safety import ACTION_DIM
from robovlms_ros.ros.diagnostics import WINDOW, Latencies

RECENT_NS = 1_000_000_000
# A few answers prove nothing.
ANSWERS_JUDGED = 10
# Of the last so many steps with overlap, the share without an action that is too much.
STEPS_JUDGED = 100
TOO_MANY_STARVED = 0.1


class Timing:
    """Durations in seconds of the last actions. Guarded by whoever guards the controller."""

    def __init__(self) -> None:
        self.latency = Latencies()
        """From an image to the publication of the first action that answers it."""
        self.stages: dict[str, Latencies] = {}
        self.slow = False
        """Whether actions usually come later than the time that one is meant to last."""
        self.saturated: deque[int] = deque(maxlen=WINDOW)
        """Of the last actions: bit i where dimension i was limited."""
        self._times: deque[int] = deque(maxlen=WINDOW)
        self._starved: deque[bool] = deque(maxlen=STEPS_JUDGED)

    def clear(self) -> None:
        """Judge anew; the stages stay."""
        self.latency.clear()
        self.saturated.clear()
        self._times.clear()
        self._starved.clear()

    def published(self, action: Action, now_ns: int, overlap: bool, took: float) -> None:
        """Count an action that moves, and the seconds that it ``took`` to publish it."""
        self.saturated.append(action.saturated)
        if self._times and now_ns < self._times[-1]:
            self._times.clear()  # the clock jumped
        self._times.append(now_ns)
        self.stages.setdefault("publish", Latencies()).add(took)
        if action.chunk is not None or not overlap:  # the later actions of a chunk are older by design
            self.latency.add((now_ns - action.stamp_ns) * 1e-9)
        for stage, seconds in action.timings.items():
            self.stages.setdefault(stage, Latencies()).add(seconds)

    def rate(self, now_ns: int) -> float:
        """Actions per second of the last while; 0 where there were none for a second."""
        times = self._times
        if len(times) < 2 or not 0 <= now_ns - times[-1] < RECENT_NS:
            return 0.0
        return (len(times) - 1) * 1e9 / max(1, times[-1] - times[0])

    def limited(self, part: slice) -> float:
        """Share of the last actions in which a dimension of ``part`` was limited."""
        mask = sum(1 << dimension for dimension in range(ACTION_DIM)[part])
        return sum(bool(bits & mask) for bits in self.saturated) / max(1, len(self.saturated))

    def step(self, starved: bool) -> None:
        """Count a step of overlapped execution."""
        self._starved.append(starved)

    def judge(self, step_duration: float, overlap: bool) -> str:
        """Set ``slow``; return a warning, once, where it becomes true, else an empty text."""
        before = self.slow
        if overlap:
            steps, starved = len(self._starved), sum(self._starved)
            self.slow = steps == STEPS_JUDGED and starved > TOO_MANY_STARVED * steps
            what = f"{starved} of {steps} steps found the chunk used up: inference takes too long for its length"
        else:
            usual = self.latency.percentile(50)
            # A value near the border must not fill the log.
            self.slow = len(self.latency) >= ANSWERS_JUDGED and usual > step_duration * (0.8 if before else 1.0)
            what = f"an answer takes {usual * 1e3:.0f} ms, longer than a step of {step_duration * 1e3:.0f} ms"
        return what if self.slow and not before else ""
