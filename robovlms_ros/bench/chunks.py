"""What the chunk modes make of one smooth motion under a model that takes its time: jerk, jumps, late actions.

A scripted policy predicts a known motion, with the errors that predictions have: each chunk is a little off, and
more so towards its end. The same image is always answered alike, whatever the mode, so the modes differ in nothing
but which of the predicted actions they execute. Camera, control timer and inference run through
`robovlms_ros.policy.controller` on a simulated clock: the same numbers on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robovlms_ros.bench.table import Cell, Table
from robovlms_ros.policy.chunk_settings import ChunkSettings
from robovlms_ros.policy.controller import Controller
from robovlms_ros.policy.decision import Action, ControlSettings, Request
from robovlms_ros.policy.frames import Frame
from robovlms_ros.policy.null_policy import SCALE, NullProfile
from robovlms_ros.policy.types import ActionChunk, Observation

Array = NDArray[np.float64]
MS = 1_000_000
STEP_NS = round(1e9 * NullProfile().step_duration)
STEP_S = STEP_NS / 1e9
START_NS = 1_000_000 * MS
# Frames arrive and control steps begin this much after multiples of a step.
FRAME_NS, TICK_NS = 5 * MS, 20 * MS
CHUNK = 10
# Errors of a prediction, as shares of the motion's typical step: of a whole chunk, and grown by its last action.
BIAS, DRIFT = 0.08, 0.15
TYPICAL_STEP = 0.006
COLUMNS = (
    "inference",
    "chunk.mode",
    "jerk, m/s³, rms",
    "jump between chunks, mm, median",
    "95 %",
    "error, mm per step, rms",
    "way travelled",
    "inferences",
    "late actions",
    "late chunks",
    "starved steps",
)
MODES: tuple[tuple[str, ChunkSettings], ...] = (
    ("`first`", ChunkSettings("first")),
    (f"`open_loop`, horizon {CHUNK}", ChunkSettings("open_loop", horizon=CHUNK)),
    ("`open_loop`, overlap", ChunkSettings("open_loop", overlap=True)),
    ("`blend`, overlap", ChunkSettings("blend", overlap=True)),
    ("`ensemble`, overlap", ChunkSettings("ensemble", overlap=True)),
)
DELAYS: tuple[tuple[str, tuple[int, int]], ...] = (
    ("10 ms", (10, 10)),
    ("100 ms", (100, 100)),
    ("60 to 140 ms", (60, 140)),
    ("300 ms", (300, 300)),
)
NOTES = (
    f"A simulated clock at {1 / STEP_S:.0f} Hz and a scripted policy: chunks of {CHUNK} actions of a smooth "
    f"motion, each chunk {BIAS:.0%} off and up to {DRIFT:.0%} more at its end. The same image is answered alike "
    "in every mode.",
    "*Jerk* and *jump* are of the way that the arm is told to go in each step. Without overlap an arm stands "
    "still where no action was due, which *way travelled* shows: the length of its way, of that of the motion.",
    "*Error* is against the motion that was meant for the moment at which the action is executed.",
    "*Late actions* were meant for the time that their inference took, and are skipped; of a *late chunk* all "
    "were.",
    "Overlap gives an action for every step where a chunk lasts twice as long as an inference, and two steps "
    f"more: here for inferences of up to {(CHUNK - 2) / 2 * STEP_S * 1e3:.0f} ms.",
    "Each row was computed twice with identical results.",
)


def motion(step: ArrayLike) -> Array:
    """``(..., 3)`` metres that the arm is to go in the ``step``-th control step: smooth, some 6 mm."""
    time = np.asarray(step, np.float64)[..., None] * STEP_S
    # Three slow turns that never repeat within a minute.
    frequency, phase = np.array([0.31, 0.43, 0.23]), np.array([0.0, 1.3, 2.1])
    moved: Array = TYPICAL_STEP * np.sin(2 * np.pi * frequency * time + phase)
    return moved


class ScriptedSession:
    """Answers the image of frame ``n`` with the motion from step ``n`` on, and with the errors of that frame."""

    def __init__(self, execute_horizon: int) -> None:
        self._horizon = execute_horizon
        self._profile = NullProfile()
        self.reset()

    def reset(self) -> None:
        """Forget the chunk that is being executed."""
        self._chunk: NDArray[np.float32] | None = None
        self._used = 0

    def step(self, observation: Observation) -> ActionChunk:
        """See `robovlms_ros.policy.types.Session`."""
        if self._chunk is not None and self._used < self._horizon:
            rest = self._chunk[self._used :]
            self._used += 1
            return ActionChunk(rest, self._profile.denormalize(rest))
        image = observation.images["static"]
        assert image is not None
        frame = int.from_bytes(image.tobytes()[:4], "little")
        self._chunk, self._used = predicted(frame), 1
        return ActionChunk(self._chunk, self._profile.denormalize(self._chunk), {"model": 0.0})


def predicted(frame: int) -> NDArray[np.float32]:
    """``(CHUNK, 7)`` normalised actions for the image of this frame."""
    rows = np.arange(CHUNK, dtype=np.float64)
    errors = np.random.default_rng(frame).normal(size=(2, 3)) * TYPICAL_STEP
    way = motion(frame + rows) + BIAS * errors[0] + DRIFT * errors[1] * rows[:, None] / CHUNK
    actions = np.zeros((CHUNK, 7), np.float32)
    actions[:, :3] = way / SCALE[:3]
    return actions


def _picture(frame: int) -> Frame:
    pixels = np.frombuffer(frame.to_bytes(4, "little") + bytes(8), np.uint8).reshape(2, 2, 3)
    return Frame(START_NS + frame * STEP_NS, lambda: pixels)


@dataclass
class Run:
    """What a run gave: times and actions, in the order in which they left."""

    controller: Controller
    times_ns: list[int] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    inferences: int = 0

    def act(self, now_ns: int, action: object) -> None:
        """Note an action; whatever else a step gave is no action."""
        if isinstance(action, Action) and not action.stop:
            self.times_ns.append(now_ns)
            self.actions.append(action)


def simulate(chunk: ChunkSettings, delay_ms: tuple[int, int], steps: int) -> Run:
    """Run the controller for ``steps`` control steps; an inference takes between the two delays, evenly spread."""
    controller = Controller(ScriptedSession, NullProfile(), ["static"], replace(ControlSettings(), chunk=chunk))
    controller.set_instruction("go", START_NS)
    random = np.random.default_rng(0)
    run = Run(controller)
    frames = ticks = 0
    running: tuple[Request, ActionChunk, int] | None = None
    while ticks < steps:
        frame_at = START_NS + frames * STEP_NS + FRAME_NS
        tick_at = START_NS + ticks * STEP_NS + TICK_NS
        now = min(frame_at, tick_at, running[2] if running else tick_at)
        if running and now == running[2]:
            request, answer, _ = running
            running = None
            run.act(now, controller.commit(request, answer, now))
        elif now == tick_at:
            run.act(now, controller.tick(now))
            ticks += 1
        else:
            controller.offer("static", _picture(frames), now)
            frames += 1
        if running is None:
            found = controller.plan(now)
            if isinstance(found, Request):
                answer = controller.infer(found)
                run.inferences += bool(answer.timings)
                # What a session has left of a chunk costs nothing.
                delay = int(random.integers(delay_ms[0], delay_ms[1] + 1)) * MS if answer.timings else MS
                running = found, answer, now + delay
    return run


def measures(run: Run, steps: int) -> tuple[Cell, ...]:
    """The columns of `COLUMNS` behind the mode."""
    told = np.zeros((steps, 3))
    chunk_of = np.full(steps, -1, np.int64)
    slots = (np.array(run.times_ns) - START_NS) // STEP_NS
    for slot, action in zip(slots.tolist(), run.actions, strict=True):
        if slot < steps:
            told[slot] += action.action[:3]
            chunk_of[slot] = action.stamp_ns
    begin = int(np.argmax(chunk_of >= 0)) + 1
    told, chunk_of = told[begin:], chunk_of[begin:]
    meant = motion(np.arange(begin, steps))
    jumps = np.linalg.norm(np.diff(told, axis=0), axis=1)[np.diff(chunk_of) != 0]
    jerk = np.linalg.norm(np.diff(told, 2, axis=0), axis=1) / STEP_S**3
    moved = chunk_of >= 0
    error = np.linalg.norm((told - meant)[moved], axis=1)
    share = float(np.linalg.norm(told, axis=1).sum() / np.linalg.norm(meant, axis=1).sum())
    counts = run.controller.counts
    return (
        float(np.sqrt(np.mean(jerk**2))),
        float(np.median(jumps)) * 1e3,
        float(np.percentile(jumps, 95)) * 1e3,
        float(np.sqrt(np.mean(error**2))) * 1e3,
        f"{share:.0%}",
        run.inferences,
        counts["late step"],
        counts["late chunk"],
        counts["starved"],
    )


def measure(seconds: float, progress: Callable[[str], None]) -> list[Table]:
    """Run every mode under every delay for ``seconds`` of the simulated clock."""
    steps = round(seconds / STEP_S)
    rows, problems = [_motion_itself(steps)], []
    for delay, mode, settings, limits in _cases():
        progress(f"{mode}, {delay}")
        row, again = (measures(simulate(settings, limits, steps), steps) for _ in range(2))
        rows.append((delay, mode, *row))
        if row != again:
            problems.append(f"{mode}, {delay}: two runs differ")
    title = f"Chunk modes under injected delay, {seconds:.0f} s each"
    return [Table(title, COLUMNS, tuple(rows), NOTES, tuple(problems))]


def _cases() -> Iterator[tuple[str, str, ChunkSettings, tuple[int, int]]]:
    for delay, limits in DELAYS:
        for mode, settings in MODES:
            yield delay, mode, settings, limits


def _motion_itself(steps: int) -> tuple[Cell, ...]:
    meant = motion(np.arange(steps))
    jumps = np.linalg.norm(np.diff(meant, axis=0), axis=1)
    jerk = np.linalg.norm(np.diff(meant, 2, axis=0), axis=1) / STEP_S**3
    jump = float(np.median(jumps)) * 1e3, float(np.percentile(jumps, 95)) * 1e3
    return ("-", "the motion itself", float(np.sqrt(np.mean(jerk**2))), *jump, 0.0, "100%", None, None, None, None)
