"""Checkpoints on disk: a folder each, which has its name only when all of it has reached the disk.

A run that is killed at any moment leaves the checkpoints before it whole, and at most a folder whose name begins
with a dot, which the next run removes.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from safetensors import SafetensorError

from robovlms_ros.model.errors import ModelError

logger = logging.getLogger(__name__)
STATE = "state.json"
_NAME = re.compile(r"step-(\d+)")


class CheckpointError(ModelError):
    """A checkpoint that cannot be written or read. The ones before it are as they were."""


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint: its folder, the optimiser steps done, and what was measured then."""

    folder: Path
    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Retention:
    """Which checkpoints stay: the last ``last``, and the ``best`` by ``metric`` of those that have it."""

    last: int = 2
    best: int = 1
    metric: str = "val_loss"
    mode: Literal["min", "max"] = "min"

    def ranked(self, checkpoints: list[Checkpoint]) -> list[Checkpoint]:
        """Those with the metric, the best first, and of equal ones the earliest."""
        sign = 1 if self.mode == "min" else -1

        def rank(checkpoint: Checkpoint) -> tuple[bool, float, int]:
            value = checkpoint.metrics[self.metric]
            # One that is not a number is worse than any.
            return math.isnan(value), 0.0 if math.isnan(value) else sign * value, checkpoint.step

        return sorted((c for c in checkpoints if self.metric in c.metrics), key=rank)

    def kept(self, checkpoints: list[Checkpoint]) -> set[Path]:
        """Folders of the checkpoints that stay, of ``checkpoints`` in the order of their steps."""
        chosen = [*checkpoints[-self.last :], *self.ranked(checkpoints)[: self.best]]
        return {checkpoint.folder for checkpoint in chosen}


class CheckpointStore:
    """The checkpoints of one run, in ``folder``. One process writes."""

    def __init__(self, folder: Path, retention: Retention | None = None) -> None:
        self.folder = folder
        self.retention = retention or Retention()

    def all(self) -> list[Checkpoint]:
        """The complete ones, the earliest first."""
        if not self.folder.is_dir():
            return []
        found = (_read(path) for path in self.folder.iterdir() if _NAME.fullmatch(path.name))
        return sorted(filter(None, found), key=lambda checkpoint: checkpoint.step)

    def find(self, which: str) -> Checkpoint:
        """``last``, ``best``, or a number of steps. Raises `CheckpointError` listing what there is."""
        checkpoints = self.all()
        best = self.retention.ranked(checkpoints)
        choices = {str(checkpoint.step): checkpoint for checkpoint in checkpoints}
        if checkpoints:
            choices |= {"last": checkpoints[-1], "best": best[0] if best else checkpoints[-1]}
        if which not in choices:
            there = ", ".join(str(checkpoint.step) for checkpoint in checkpoints) or "none"
            raise CheckpointError(f"{self.folder} has no checkpoint {which!r}; it has {there}")
        return choices[which]

    def save(self, step: int, metrics: Mapping[str, float], write: Callable[[Path], None]) -> Checkpoint:
        """Write a checkpoint with ``write``, which fills an empty folder; then remove those that need not stay.

        Raises `CheckpointError` where that fails, for instance on a full disk; nothing of it is then left.
        """
        target, aside = self.folder / f"step-{step:08d}", self.folder / f".step-{step:08d}"
        try:
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            write(aside)
            state = {"format": 1, "step": step, "metrics": dict(metrics)}
            (aside / STATE).write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
            _flush(aside)
            if target.exists():
                _remove(target)
            aside.rename(target)
            _sync(self.folder)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(aside, ignore_errors=True)
            raise CheckpointError(
                f"checkpoint {target} cannot be written: {error}; earlier ones are whole. Free some space, or "
                "lower checkpoints.keep_last"
            ) from error
        self.prune()
        return Checkpoint(target, step, dict(metrics))

    def prune(self) -> None:
        """Remove leftovers of a run that was killed, and checkpoints that need not stay."""
        if not self.folder.is_dir():
            return
        checkpoints = self.all()
        kept = self.retention.kept(checkpoints)
        for path in self.folder.iterdir():
            if path.name.startswith(".step-"):
                shutil.rmtree(path, ignore_errors=True)
        for checkpoint in checkpoints:
            if checkpoint.folder not in kept:
                _remove(checkpoint.folder)


def _read(folder: Path) -> Checkpoint | None:
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        metrics = {key: float(value) for key, value in state["metrics"].items()}
        return Checkpoint(folder, int(state["step"]), metrics)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        logger.warning("%s is no complete checkpoint and is not used: %s", folder, error)
        return None


def _remove(folder: Path) -> None:
    """Take its name away first: a half-removed folder must not pass for a checkpoint."""
    hidden = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(hidden, ignore_errors=True)
    try:
        folder.rename(hidden)
    except OSError as error:
        logger.warning("%s cannot be removed: %s", folder, error)
    shutil.rmtree(hidden, ignore_errors=True)


def _flush(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
