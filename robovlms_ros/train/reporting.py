"""What a run tells: a line per so many steps in ``metrics.jsonl``, TensorBoard, and a progress bar for people."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from robovlms_ros.model.errors import ConfigError

# In the order in which the progress bar shows them.
_SHOWN = {
    "train_loss": "loss",
    "val_loss": "val",
    "train_acc_gripper_act": "gripper",
    "samples_per_second": "samples/s",
}


class MetricsFile:
    """One JSON object per line, each with its ``step``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def cut(self, step: int) -> None:
        """Drop what a run wrote after the checkpoint of ``step``, with which it now goes on."""
        kept = [line for line in read_metrics(self.path) if line["step"] <= step]
        self.path.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add a line; what is not finite becomes null, which is JSON."""
        numbers = {key: value if math.isfinite(value) else None for key, value in metrics.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step} | numbers) + "\n")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a ``metrics.jsonl``; a last one that was cut off is left out."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


class Reporter:
    """Tells nothing; the one of a run's main process is a `RunReporter`."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Note what was measured after ``step`` optimiser steps."""

    def advance(self, step: int) -> None:
        """Show that ``step`` optimiser steps are done."""

    def say(self, text: str) -> None:
        """A line for people."""

    @contextmanager
    def showing(self, first: int, last: int) -> Iterator[None]:
        """Show progress from step ``first`` to ``last`` inside."""
        yield


class RunReporter(Reporter):
    """Writes and shows. Where nobody watches there are plain lines instead of a bar."""

    def __init__(
        self, metrics: MetricsFile, tensorboard: Path | None = None, console: Console | None = None
    ) -> None:
        self._metrics = metrics
        self._console = console or Console(stderr=True)
        self._board = None if tensorboard is None else _summary_writer(tensorboard)
        self._progress: Progress | None = None
        self._shown: dict[str, float] = {}
        self._warned = False
        self._last = 0

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """See `Reporter.log`."""
        self._keep(step, metrics)
        self._shown |= {key: value for key, value in metrics.items() if key in _SHOWN}
        if self._progress is None or not self._console.is_terminal:
            self.say(f"step {step}/{self._last}  {self._text()}")

    def _keep(self, step: int, metrics: Mapping[str, float]) -> None:
        """A full disk costs the curves and not the run."""
        try:
            self._metrics.write(step, metrics)
            if self._board is not None:
                for name, value in metrics.items():
                    self._board.add_scalar(name, value, step)
        except OSError as error:
            if not self._warned:
                self._warned = True
                self.say(f"warning: {self._metrics.path.parent}: {error}; training goes on without its curves")

    def advance(self, step: int) -> None:
        """See `Reporter.advance`."""
        if self._progress is not None:
            self._progress.update(self._task, completed=step, shown=self._text())

    def say(self, text: str) -> None:
        """See `Reporter.say`."""
        self._console.print(text, highlight=False, soft_wrap=True)

    @contextmanager
    def showing(self, first: int, last: int) -> Iterator[None]:
        """See `Reporter.showing`."""
        columns = (
            *(TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[shown]}")),
            *(TimeElapsedColumn(), TimeRemainingColumn()),
        )
        self._last = last
        watched = self._console.is_terminal
        # Drawing takes time from the thread that trains.
        with Progress(*columns, console=self._console, disable=not watched, refresh_per_second=2) as progress:
            self._progress, self._task = progress, progress.add_task("", total=last, completed=first, shown="")
            try:
                yield
            finally:
                self._progress = None
                if self._board is not None:
                    with suppress(OSError):
                        self._board.flush()

    def _text(self) -> str:
        shown = [(name, self._shown[key]) for key, name in _SHOWN.items() if key in self._shown]
        return "  ".join(f"{name} {value:.4g}" for name, value in shown)


@contextmanager
def progress_bar(description: str, console: Console) -> Iterator[Callable[[int, int], None]]:
    """A bar where somebody watches; gives what is to be called with what is done and what there is."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(description, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _summary_writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "log.tensorboard needs the package tensorboard: pip install 'robovlms_ros[train]', or set it to false"
        ) from error
    return SummaryWriter(folder)
