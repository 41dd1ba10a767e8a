"""What the model computes with: the CPU's threads, and the memory of its device when that is used up."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

from robovlms_ros.model.errors import DeviceMemoryError

Result = TypeVar("Result")
# Before torch 2.5 it had no name of its own.
OUT_OF_MEMORY: type[Exception] = getattr(torch, "OutOfMemoryError", torch.cuda.OutOfMemoryError)
_OWN_CHOICE = torch.get_num_threads()


def use_threads(count: int) -> None:
    """Let models of this process compute with ``count`` threads of the CPU; 0 = as many as torch chose itself."""
    torch.set_num_threads(count or _OWN_CHOICE)


def within_memory(work: Callable[[], Result]) -> Result:
    """Return what ``work`` returns. Raises `DeviceMemoryError` where the device's memory was not enough for it."""
    try:
        return work()
    except OUT_OF_MEMORY as error:
        message = str(error)
    # Only here, with the error gone, has nobody the tensors of the failed work any more.
    free_cache()
    raise DeviceMemoryError(
        f"the device's memory is used up; end what else uses it, or load the model in a smaller dtype (bfloat16): "
        f"{message}"
    )


def free_cache() -> None:
    """Give memory back to the device that no tensor uses any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
