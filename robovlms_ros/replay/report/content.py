"""The numbers of the page: what its script draws, as plain JSON that holds no mark-up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from robovlms_ros.replay.result import ReplayResult

# Chunks that are kept of a long replay, evenly spread; the script draws the nearest one before its cursor.
CHUNKS = 2000
DIMENSIONS = ("x", "y", "z", "rot x", "rot y", "rot z", "gripper")
UNITS = ("mm", "mm", "mm", "°", "°", "°", "")
SCALES = (1e3, 1e3, 1e3, 180 / math.pi, 180 / math.pi, 180 / math.pi, 1.0)


def script_data(result: ReplayResult) -> dict[str, Any]:
    """What the script of the page gets, without pictures: times in seconds into the bag, numbers in `UNITS`."""
    start = result.bag.start_ns

    def seconds(time_ns: int) -> float:
        return round((time_ns - start) / 1e9, 4)

    places = places_of(result)
    kept = set(spread(range(len(result.inferences)), CHUNKS))
    return {
        "dimensions": [{"name": name, "unit": unit} for name, unit in zip(DIMENSIONS, UNITS, strict=True)],
        "duration": seconds(result.bag.end_ns),
        "step": result.model.step_duration,
        "actions": {
            "t": [seconds(action.time_ns) for action in result.actions],
            "v": [_scaled(action.action) for action in result.actions],
            "saturated": [action.saturated for action in result.actions],
            "stop": [int(action.stop) for action in result.actions],
            "inference": [
                None if action.inference is None else places.get(action.inference) for action in result.actions
            ],
        },
        "recorded": {
            "t": [seconds(action.time_ns) for action in result.recorded],
            "v": [_scaled(action.action) for action in result.recorded],
        },
        "inferences": [
            {
                "t": seconds(inference.start_ns),
                "instruction": inference.instruction,
                "episode": inference.episode,
                "outcome": inference.outcome,
                "problem": inference.problem,
                "timings": {name: _short(1e3 * value) for name, value in inference.timings.items()},
                "chunk": [_scaled(row) for row in inference.actions] if place in kept else None,
            }
            for place, inference in enumerate(result.inferences)
        ],
        "events": [
            {"t": seconds(event.time_ns), "kind": event.kind, "detail": event.detail or event.topic}
            for event in result.events
        ],
    }


def places_of(result: ReplayResult) -> dict[int, int]:
    """Where each inference is in the result, by its number."""
    return {inference.number: place for place, inference in enumerate(result.inferences)}


def spread(places: Sequence[int], count: int) -> list[int]:
    """At most ``count`` of ``places``, evenly spread, the first and the last among them."""
    if len(places) <= count:
        return list(places)
    if count < 2:
        return list(places[:count])
    gap = (len(places) - 1) / (count - 1)
    return [places[round(gap * number)] for number in range(count)]


def _scaled(row: Iterable[float]) -> list[float]:
    return [_short(value * scale) for value, scale in zip(row, SCALES, strict=True)]


def _short(value: float) -> float:
    return float(f"{value:.5g}")
