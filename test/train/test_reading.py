"""Batches from worker processes, whatever happens to those."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
from torch.utils.data import Dataset

from robovlms_ros.data.errors import DataError
from robovlms_ros.train.reading import ReadingError, batches

KEYS = [[0, 1], [2, 3]]


class Numbers(Dataset[int]):
    """Calls ``trouble`` when it is asked for the last of `KEYS`."""

    def __init__(self, trouble: Callable[[], int] = lambda: 3) -> None:
        self._trouble = trouble

    def __getitem__(self, number: int) -> int:
        return self._trouble() if number == 3 else number


def unreadable() -> int:
    raise DataError("episode e7, step 2: not a JPEG")


def killed() -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def interrupted() -> int:
    os.kill(os.getpid(), signal.SIGINT)
    return 3


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_in_their_order(workers: int) -> None:
    assert list(batches(Numbers(), KEYS, list, workers)) == KEYS


@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_worker_cannot_read_is_one_line(workers: int) -> None:
    found = batches(Numbers(unreadable), KEYS, list, workers)
    assert next(found) == [0, 1]
    with pytest.raises(DataError) as caught:
        next(found)
    assert str(caught.value) == "episode e7, step 2: not a JPEG"


def test_a_worker_that_dies_is_an_error_with_a_cure() -> None:
    with pytest.raises(ReadingError, match=r"has died \(DataLoader worker .*\): .*lower data\.workers"):
        list(batches(Numbers(killed), KEYS, list, 1))


def test_ctrl_c_is_for_the_main_process() -> None:
    assert list(batches(Numbers(interrupted), KEYS, list, 1)) == KEYS


def test_an_error_of_the_program_stays_one() -> None:
    def wrong() -> int:
        raise RuntimeError("stack expects each tensor to be equal size")

    with pytest.raises(RuntimeError, match="equal size"):
        list(batches(Numbers(wrong), KEYS, list, 0))
