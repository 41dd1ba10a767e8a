"""The parts of ``robovlms bench``: what each measures, whether it can run here, and how. Imports nothing heavy."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from robovlms_ros.bench.machine import Load
from robovlms_ros.bench.table import Section, Table
from robovlms_ros.model.errors import ModelError

Progress = Callable[[str], None]
# Some of what the extra brings.
TRAINING = ("accelerate", "peft", "pyarrow", "tensorboard")


@dataclass(frozen=True)
class Settings:
    """What a run of the benchmark goes by.

    ``scale``: of generated models, ``tiny``, ``quarter`` or ``full``; None = what suits the part. ``model``: a
    packed folder for the stages, instead of a generated one. ``device``: for the stages. ``threads`` that torch
    computes the stages with; 0 = as many as it chooses itself.
    """

    quick: bool = False
    scale: str | None = None
    model: Path | None = None
    device: str = "cpu"
    threads: int = 1

    def scaled(self, usual: str, quick: str = "tiny") -> str:
        """The scale of a part whose usual one is given."""
        return self.scale or (quick if self.quick else usual)


@dataclass(frozen=True)
class Part:
    """One part. ``why_not`` gives the reason for which it cannot run on this machine."""

    title: str
    summary: str
    run: Callable[[Settings, Progress], list[Table]]
    why_not: Callable[[], str | None] = lambda: None


def _stages(settings: Settings, progress: Progress) -> list[Table]:
    from robovlms_ros.bench.stages import measure
    from robovlms_ros.bench.timing import threads

    repeats = 3 if settings.quick else 20
    with threads(settings.threads):
        return measure(settings.scaled("quarter"), repeats, progress, settings.model, settings.device)


def _speedups(settings: Settings, progress: Progress) -> list[Table]:
    from robovlms_ros.bench.speedups import measure

    return measure(settings.scaled("quarter"), 2 if settings.quick else 5, progress)


def _chunks(settings: Settings, progress: Progress) -> list[Table]:
    from robovlms_ros.bench.chunks import measure

    return measure(5.0 if settings.quick else 30.0, progress)


def _node(settings: Settings, progress: Progress) -> list[Table]:
    from robovlms_ros.bench.node.tables import measure

    return measure(settings.quick, progress)


def _startup(settings: Settings, progress: Progress) -> list[Table]:
    from robovlms_ros.bench.startup import measure

    return measure(1 if settings.quick else 5, _without_ros() is None, progress)


def _memory(settings: Settings, progress: Progress) -> list[Table]:
    from robovlms_ros.bench.memory import measure

    return measure(settings.scaled("quarter"), progress, settings.quick)


def _training(settings: Settings, progress: Progress) -> list[Table]:
    from robovlms_ros.bench.training import measure

    if settings.quick:
        return measure("tiny", 5, progress)
    return measure("tiny" if settings.scale == "tiny" else "eighth", 20, progress)


def _cuda(settings: Settings, progress: Progress) -> list[Table]:
    from robovlms_ros.bench.cuda import measure

    name = settings.device if settings.device.startswith("cuda") else "cuda"
    return measure(settings.scaled("full", "full"), 20 if settings.quick else 200, progress, name)


def _without_training() -> str | None:
    absent = [name for name in TRAINING if importlib.util.find_spec(name) is None]
    return f"it needs {absent[0]}: pip install 'robovlms_ros[train]'" if absent else None


def _without_ros() -> str | None:
    for name in ("rclpy", "domain_coordinator"):
        if importlib.util.find_spec(name) is None:
            return f"it needs ROS 2: there is no {name} in this environment"
    try:
        import robovlms_ros.ros.interfaces  # noqa: F401
    except ImportError as error:
        return str(error)
    return None


def _without_proc() -> str | None:
    return None if sys.platform == "linux" else "it reads /proc, which only Linux has"


def _without_cuda() -> str | None:
    from robovlms_ros.bench.cuda import why_not

    return why_not()


PARTS: dict[str, Part] = {
    "stages": Part("Stages of a control step", "where the time of one step goes, wire to action", _stages),
    "speedups": Part("Exact speed-ups", "each against upstream's algorithm on the same weights", _speedups),
    "chunks": Part("Chunk modes", "jerk, jumps, late actions under injected delay; a simulated clock", _chunks),
    "node": Part(
        "The node",
        "latency, overhead, freshness under load, shutdown, lifecycle",
        _node,
        _without_ros,
    ),
    "startup": Part("Start-up", "import time and memory", _startup),
    "memory": Part("Memory of packing and loading", "peaks and seconds of each step", _memory, _without_proc),
    "training": Part("Training steps", "the loop beside a plain one, kept features", _training, _without_training),
    "cuda": Part("A CUDA device", "bfloat16, captured graphs, how near the limit they come", _cuda, _without_cuda),
}


def chosen(names: Sequence[str]) -> list[str]:
    """The parts of these names, in the usual order; all without one. Raises `ModelError` for an unknown name."""
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise ModelError(f"there is no part {unknown[0]!r}; choose from {', '.join(PARTS)}")
    return [name for name in PARTS if name in names or not names]


def run_part(name: str, settings: Settings, progress: Progress) -> Section:
    """Measure one part, or say why it cannot be."""
    part = PARTS[name]
    reason = part.why_not()
    if reason:
        return Section(skipped=reason)
    load, started = Load(), time.monotonic()
    try:
        tables = tuple(part.run(settings, progress))
    except ModelError as error:
        return Section(failed=str(error))
    kept: dict[str, Any] = asdict(settings) | {"model": str(settings.model) if settings.model else None}
    return Section(tables, None, None, time.monotonic() - started, load.others(), kept)
