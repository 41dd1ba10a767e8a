"""Times two ways to the same result, fairly: one process, A/B/A/B, and the results compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

import torch
from torch import Tensor

from robovlms_ros.bench.table import Cell

Work = Callable[[], Tensor]
COLUMNS = (
    "technique",
    "reference, ms",
    "here, ms",
    "CPU time ratio, least",
    "median",
    "wall ratio, median",
    "A/A",
    "largest difference",
)


@dataclass(frozen=True)
class Timing:
    """Seconds of every repetition."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Comparison:
    """A row of `COLUMNS`, and what is wrong with it, if anything."""

    row: tuple[Cell, ...]
    problem: str | None = None


def once(work: Work, timing: Timing) -> Tensor:
    """Run ``work`` and note how long it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    with torch.inference_mode():
        result = work()
    timing.cpu.append(time.process_time() - cpu)
    timing.wall.append(time.perf_counter() - wall)
    return result


def compare(name: str, reference: Work, here: Work, allowed: float, repeats: int) -> Comparison:
    """Measure ``reference`` (upstream's algorithm, written plainly) against ``here``; their results must agree.

    The column A/A is the reference against itself, measured in the same rounds: how far from 1 noise alone goes.
    Results may differ by ``allowed``.
    """
    slow, fast, again = Timing(), Timing(), Timing()
    largest = 0.0
    with torch.inference_mode():
        reference(), here()
    for _ in range(repeats):
        expected = once(reference, slow)
        actual = once(here, fast)
        once(reference, again)
        difference = float((actual - expected).abs().max())
        largest = difference if not difference <= largest else largest  # a NaN stays
    row = (
        name,
        min(slow.cpu) * 1e3,
        min(fast.cpu) * 1e3,
        min(slow.cpu) / min(fast.cpu),
        median(slow.cpu) / median(fast.cpu),
        median(slow.wall) / median(fast.wall),
        min(slow.cpu) / min(again.cpu),
        largest,
    )
    problem = f"{name}: the results differ by {largest:.1e}, allowed is {allowed:.0e}"
    return Comparison(row, None if largest <= allowed else problem)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch compute with so many threads for a while; 0 = as many as it does already."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
