"""Two sets of actions for one bag: a replay against what was recorded, or against another replay."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.data.rotations import axis_angle_to_rpy, rpy_to_axis_angle
from robovlms_ros.replay.result import RecordedAction, ReplayResult, Row

DIMENSIONS = ("x", "y", "z", "rx", "ry", "rz")
OPEN_FROM = 0.5
MISSING, EXTRA = "missing", "extra"


class Compared(Protocol):
    """What of an action is compared."""

    @property
    def stamp_ns(self) -> int: ...  # noqa: D102
    @property
    def step_index(self) -> int: ...  # noqa: D102
    @property
    def action(self) -> Row: ...  # noqa: D102


@dataclass(frozen=True)
class Tolerances:
    """Largest difference that is none: metres, radians, and of the gripper's opening."""

    translation: float = 0.0
    rotation: float = 0.0
    gripper: float = 0.0

    def of(self, dimension: int) -> float:
        """That of a number of an action."""
        return self.translation if dimension < 3 else self.rotation if dimension < 6 else self.gripper


@dataclass(frozen=True)
class Divergence:
    """The first action that differs by more than the tolerances: ``what`` in words, ``index`` among those of the
    reference, ``stamp_ns`` of its image."""

    index: int
    stamp_ns: int
    what: str


@dataclass(frozen=True)
class Comparison:
    """How far apart two sets of actions are; metres and radians.

    ``mean``, ``p95`` and ``most`` ``(6,)`` are absolute errors of the arm's dimensions over the actions that both
    have, ``gripper`` the share of those in which both open or both close. ``missing`` are actions of the reference
    only, ``extra`` those of the replay only. ``differing`` counts all that differ by more than the tolerances, the
    missing and the extra ones among them; ``first`` is the first of them.
    """

    reference: str
    matched: int
    missing: int
    extra: int
    differing: int
    mean: NDArray[np.float64]
    p95: NDArray[np.float64]
    most: NDArray[np.float64]
    gripper: float
    first: Divergence | None = None
    latency: tuple[float, float] | None = None
    """Median and 95th percentile of the recorded latencies in seconds."""
    inference_time: tuple[float, float] | None = None
    """The same of the time that the model took when it was recorded."""
    notes: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether nothing differs by more than the tolerances."""
        return not self.differing


def compare(
    actual: Sequence[Compared], expected: Sequence[Compared], reference: str, tolerances: Tolerances
) -> Comparison:
    """Compare actions in one rotation format. They belong together by the stamp of their image and their place in
    the chunk; the ``n``-th of those that share both to the ``n``-th."""
    ours = dict(zip(_keys(actual), actual, strict=True))
    theirs = dict(zip(_keys(expected), expected, strict=True))
    both = [key for key in theirs if key in ours]
    pairs = np.array([[ours[key].action, theirs[key].action] for key in both], np.float64).reshape(-1, 2, 7)
    errors = np.abs(pairs[:, 0] - pairs[:, 1])
    agree = (pairs[:, 0, 6] >= OPEN_FROM) == (pairs[:, 1, 6] >= OPEN_FROM)
    allowed = np.array([tolerances.of(dimension) for dimension in range(7)])
    wrong = (errors > allowed).any(axis=1) | ~agree
    divergences: list[Divergence] = []
    places = {key: index for index, key in enumerate(theirs)}
    for key, bad, error in zip(both, wrong, errors, strict=True):
        if bad:
            what = _difference(ours[key], theirs[key], error, allowed)
            divergences.append(Divergence(places[key], key[0], what))
            break
    lacking = [key for key in theirs if key not in ours]
    surplus = [key for key in ours if key not in theirs]
    divergences += [Divergence(places[key], key[0], "it is missing") for key in lacking[:1]]
    divergences += [Divergence(len(theirs), key[0], "the reference has no such action") for key in surplus[:1]]
    arm = errors[:, :6] if len(errors) else np.full((1, 6), math.nan)
    return Comparison(
        reference=reference,
        matched=len(both),
        missing=len(lacking),
        extra=len(surplus),
        differing=int(wrong.sum()) + len(lacking) + len(surplus),
        mean=arm.mean(axis=0),
        p95=np.percentile(arm, 95, axis=0),
        most=arm.max(axis=0),
        gripper=float(agree.mean()) if len(both) else math.nan,
        first=min(divergences, key=lambda each: (each.stamp_ns, each.index), default=None),
    )


def against_recorded(result: ReplayResult, tolerances: Tolerances | None = None) -> Comparison | None:
    """Compare a replay with the actions in its bag; None where the bag has none.

    Stop actions are left out on both sides: no image asked for them, and a node's come by its own timer.
    """
    if not result.recorded:
        return None
    recorded, stops = _moving(result)
    converted = [_in_format(action, result.model.rotation_format) for action in recorded]
    actual = [action for action in result.actions if not action.stop]
    compared = compare(actual, converted, "the recorded actions", tolerances or Tolerances())
    notes = []
    if stops:
        notes.append(f"{stops} recorded stop actions are left out")
    frames = {action.frame for action in recorded if action.frame} - {result.model.frame}
    if frames:
        notes.append(
            f"the recorded actions are in the frame {', '.join(sorted(frames))}, the replayed ones in "
            f"{result.model.frame}"
        )
    return replace(
        compared,
        latency=_percentiles([action.latency for action in recorded]),
        inference_time=_percentiles([action.inference_time for action in recorded if action.inference_time]),
        notes=tuple(notes),
    )


def _moving(result: ReplayResult) -> tuple[list[RecordedAction], int]:
    """The recorded actions that answer an image, in the part of the bag that was replayed, and how many do not."""
    start = result.bag.start_ns + round(result.options.start * 1e9)
    end = start + round(result.options.duration * 1e9) if result.options.duration else result.bag.end_ns
    within = [action for action in result.recorded if start <= action.stamp_ns <= end]
    seen = {inference.stamp_ns for inference in result.inferences}
    moving = [
        action
        for action in within
        if action.stamp_ns in seen or any(action.action[:6]) or action.inference_time or action.step_index
    ]
    return moving, len(within) - len(moving)


@dataclass(frozen=True)
class _Converted:
    stamp_ns: int
    step_index: int
    action: Row


def _in_format(action: RecordedAction, rotation_format: str) -> Compared:
    if action.rotation_format == rotation_format:
        return action
    turn = np.array(action.action[3:6])
    turned = rpy_to_axis_angle(turn) if rotation_format == "axis_angle" else axis_angle_to_rpy(turn)
    row = (*action.action[:3], *turned.tolist(), action.action[6])
    return _Converted(action.stamp_ns, action.step_index, row)


def _keys(actions: Sequence[Compared]) -> list[tuple[int, int, int]]:
    passed: Counter[tuple[int, int]] = Counter()
    keys = []
    for action in actions:
        place = (action.stamp_ns, action.step_index)
        keys.append((*place, passed[place]))
        passed[place] += 1
    return keys


def _difference(ours: Compared, theirs: Compared, error: NDArray[np.float64], allowed: NDArray[np.float64]) -> str:
    units = ("m",) * 3 + ("rad",) * 3
    beyond = np.where(error > allowed, error / np.maximum(allowed, 1e-300), 0.0)[:6]
    if beyond.any():
        worst = int(beyond.argmax())
        got, wanted, unit = ours.action[worst], theirs.action[worst], units[worst]
        return f"{DIMENSIONS[worst]} is {got:.9g} {unit} instead of {wanted:.9g} (difference {error[worst]:.3g})"
    return f"the gripper's opening is {ours.action[6]:g} instead of {theirs.action[6]:g}"


def _percentiles(seconds: Sequence[float]) -> tuple[float, float] | None:
    if not seconds:
        return None
    p50, p95 = np.percentile(seconds, [50, 95])
    return float(p50), float(p95)
