"""Batches from worker processes, and what goes wrong in those as one line."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from robovlms_ros.model.errors import ModelError


class ReadingError(ModelError):
    """A process that reads images has died."""


def batches(
    dataset: Dataset[Any],
    keys: Iterable[list[Any]],
    collate: Callable[..., Any],
    workers: int,
    pin_memory: bool = False,
) -> Iterator[Any]:
    """``collate`` of the items of each list of ``keys``, read ahead by ``workers`` processes; 0 reads in this one.

    Raises what the dataset raises, and `ReadingError`.
    """
    loader = DataLoader(
        dataset,
        batch_sampler=keys,
        collate_fn=collate,
        num_workers=workers,
        pin_memory=pin_memory,
        worker_init_fn=_quiet_worker,
    )
    try:
        yield from loader
    except ModelError as error:
        raise type(error)(_message(error)) from error
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise ReadingError(
            f"a process that reads images has died ({str(error).splitlines()[0]}): too little memory, or "
            "in a container too little shared memory (docker run --shm-size); lower data.workers"
        ) from error


def _message(error: ModelError) -> str:
    """A worker's error comes as the text of its traceback, which ends with what it said."""
    text = str(error)
    return text.rstrip().splitlines()[-1].partition(": ")[2] if text.startswith("Caught ") else text


def _quiet_worker(_: int) -> None:
    """A worker leaves the other cores alone, and Ctrl-C to the main process."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
