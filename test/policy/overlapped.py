"""Camera, control timer and an inference that takes its time, on one simulated clock and without threads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from controlled import MS, START, Recording, make, picture

from robovlms_ros.policy.chunk_settings import ChunkSettings
from robovlms_ros.policy.controller import Controller
from robovlms_ros.policy.decision import Action, ControlSettings, Request
from robovlms_ros.policy.types import ActionChunk

STEP = 33_333_333
OPEN_LOOP = ChunkSettings("open_loop", overlap=True)


def labelled(chunk: int) -> Recording:
    """A policy whose action ``r`` of its ``k``-th chunk moves by ``k`` and turns by ``r`` tenths of full scale."""
    policy = Recording(chunk)

    def label(answer: ActionChunk) -> ActionChunk:
        normalized = np.zeros((chunk, 7), np.float32)
        normalized[:, 0], normalized[:, 3] = len(policy.seen) - 1, np.arange(chunk) / 10
        return ActionChunk(normalized, policy.profile.denormalize(normalized), answer.timings)

    policy.change = label
    return policy


def label_of(action: Action) -> tuple[int, int]:
    """The chunk and the action in it that was executed."""
    return round(float(action.normalized[0])), round(float(action.normalized[3]) * 10)


class Overlapped:
    """Runs a controller: frames arrive 5 ms and steps begin 20 ms after multiples of STEP."""

    def __init__(self, controller: Controller, latency_ns: int) -> None:
        self.controller = controller
        self.latency_ns = latency_ns
        self.camera = True
        self.steps: list[tuple[int, Action]] = []
        """Number of each step that gave an action, and the action."""
        self.stops: list[tuple[int, Action]] = []
        """Time and action of each stop by the watchdog."""
        self._frames = self._ticks = 0
        self._running: tuple[Request, ActionChunk, int] | None = None

    @property
    def now(self) -> int:
        """The time of the next step."""
        return START + 20 * MS + self._ticks * STEP

    @property
    def infers(self) -> bool:
        """Whether an inference is running."""
        return self._running is not None

    def run(self, steps: int) -> list[tuple[int, Action]]:
        """Run for so many steps; return what they gave."""
        before, end = len(self.steps), self._ticks + steps
        while self._ticks < end:
            self._next_event()
        return self.steps[before:]

    def _next_event(self) -> None:
        frame, tick = START + self._frames * STEP + 5 * MS, self.now
        done = self._running[2] if self._running else tick + 1
        now = min(frame, tick, done)
        if self._running and now == done:
            (request, chunk, _), self._running = self._running, None
            self.controller.commit(request, chunk, now)
        elif now == tick:
            result = self.controller.tick(now)
            if isinstance(result, Action):
                self.steps.append((self._ticks, result))
            stop = self.controller.watchdog(now)
            if stop:
                self.stops.append((now, stop))
            self._ticks += 1
        else:
            if self.camera:
                self.controller.offer("static", picture(frame - 5 * MS), now)
            self._frames += 1
        if self._running is None:
            request = self.controller.plan(now)
            if isinstance(request, Request):
                self._running = request, self.controller.infer(request), now + self.latency_ns


def overlapped(
    policy: Recording, chunk: ChunkSettings = OPEN_LOOP, latency_ns: int = 300 * MS, **changes: object
) -> Overlapped:
    """A running controller of ``policy``."""
    settings = replace(ControlSettings(chunk=chunk), **changes)  # type: ignore[arg-type]
    return Overlapped(make(policy, settings), latency_ns)
