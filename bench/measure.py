"""Times two ways to the same result, fairly: one process, one thread, A/B/A/B, and the results compared."""

# ruff: noqa: T201  a benchmark prints

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

Work = Callable[[], Tensor]
HEADER = (
    "| technique | reference, ms | here, ms | CPU time ratio, least | median | wall ratio, median | A/A | "
    "largest difference |\n|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Timing:
    """Seconds of every repetition."""

    cpu: list[float]
    wall: list[float]


def once(work: Work, timing: Timing) -> Tensor:
    """Run ``work`` and note how long it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    with torch.inference_mode():
        result = work()
    timing.cpu.append(time.process_time() - cpu)
    timing.wall.append(time.perf_counter() - wall)
    return result


def compare(name: str, reference: Work, here: Work, allowed: float, repeats: int) -> bool:
    """Print a row for ``reference`` (upstream's algorithm, written plainly) against ``here``; whether they agree.

    The column A/A is the reference against itself, measured in the same rounds: how far from 1 noise alone goes.
    """
    slow, fast, again = Timing([], []), Timing([], []), Timing([], [])
    largest = 0.0
    with torch.inference_mode():
        reference(), here()
    for _ in range(repeats):
        expected = once(reference, slow)
        actual = once(here, fast)
        once(reference, again)
        largest = max(largest, float((actual - expected).abs().max()))
    least = min(slow.cpu) / min(fast.cpu)
    middle, wall = median(slow.cpu) / median(fast.cpu), median(slow.wall) / median(fast.wall)
    noise = min(slow.cpu) / min(again.cpu)
    print(
        f"| {name} | {min(slow.cpu) * 1000:.2f} | {min(fast.cpu) * 1000:.2f} | {least:.2f} | {middle:.2f} | "
        f"{wall:.2f} | {noise:.2f} | {largest:.1e} |",
        flush=True,
    )
    if largest > allowed:
        print(f"{name}: the results differ by {largest:.1e}, allowed is {allowed:.0e}", file=sys.stderr)
    return largest <= allowed


def machine() -> str:
    """What the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    vector = torch.backends.cpu.get_cpu_capability()
    return f"{cpu} ({vector}), torch {torch.__version__}, {torch.get_num_threads()} thread"
