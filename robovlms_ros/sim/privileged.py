"""What no robot is told, beside a recorded dataset: for auxiliary losses and for looking into a policy.

One file, ``privileged.npz``, in the dataset's folder. `robovlms_ros.data` does not know it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.data.errors import DataError
from robovlms_ros.sim.rollout import Rollout

Array = NDArray[np.float64]

PRIVILEGED_FILE = "privileged.npz"
_ROWS = ("target", "base", "blocks", "executed")


@dataclass(frozen=True)
class PrivilegedEpisode:
    """Of one episode of ``T`` steps, row ``t`` at frame ``t``.

    ``target`` and ``base`` ``(T, 5)``: the named blocks from the tool, see `TabletopEnvironment.info`; ``base`` is
    NaN where the task has none. ``blocks`` ``(T, 15)``: all of them. ``executed`` ``(T, 7)``: what was done, where
    the dataset's actions are what the expert wanted; they differ where noise was added.
    """

    identifier: str
    seed: int
    target: Array
    base: Array
    blocks: Array
    executed: Array

    @classmethod
    def of(cls, rollout: Rollout, identifier: str) -> PrivilegedEpisode:
        """That of a rollout."""
        base = np.full_like(rollout.target, np.nan) if rollout.base is None else rollout.base
        return cls(identifier, rollout.seed, rollout.target, base, rollout.blocks, rollout.executed)


def write_privileged(folder: Path, episodes: Sequence[PrivilegedEpisode]) -> None:
    """Write them all, in the order of the dataset's episodes."""
    aside = folder / f".{PRIVILEGED_FILE}"
    arrays: dict[str, Any] = {
        "identifiers": np.array([episode.identifier for episode in episodes]),
        "seeds": np.array([episode.seed for episode in episodes], np.int64),
        "starts": np.cumsum([0, *(len(episode.target) for episode in episodes)]),
        **{name: np.concatenate([getattr(episode, name) for episode in episodes]) for name in _ROWS},
    }
    with aside.open("wb") as file:
        np.savez(file, **arrays)
    aside.replace(folder / PRIVILEGED_FILE)


def read_privileged(folder: Path) -> dict[str, PrivilegedEpisode]:
    """All of them by the identifier of their episode. Raises `DataError` where the dataset has none."""
    path = folder / PRIVILEGED_FILE
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("identifiers", "seeds", "starts", *_ROWS)}
    except FileNotFoundError:
        raise DataError(
            f"{folder} has no {PRIVILEGED_FILE}; only datasets made by 'robovlms sim record' have one"
        ) from None
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} cannot be read: {error}; record the dataset again") from error
    starts = arrays["starts"].tolist()
    return {
        str(identifier): PrivilegedEpisode(
            str(identifier),
            int(arrays["seeds"][number]),
            **{name: arrays[name][starts[number] : starts[number + 1]] for name in _ROWS},
        )
        for number, identifier in enumerate(arrays["identifiers"])
    }
