"""The least time that a control step can take on a device: its weights are read once, its sums are done once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from robovlms_ros.bench.captured import StaticStep
from robovlms_ros.bench.models import INSTRUCTION
from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM

COPIED_BYTES = 1 << 30
MATRIX = 8192


class Effort(NamedTuple):
    """What one control step needs at the least: ``bytes`` of weights, and floating-point operations."""

    bytes: int
    flops: int

    def seconds(self, bytes_per_second: float, flops_per_second: float) -> float:
        """The least time: reading and computing overlap, the slower one counts."""
        return max(self.bytes / bytes_per_second, self.flops / flops_per_second)


def effort(model: BaseRoboVLM, cameras: int) -> Effort:
    """Count one step of ``model``, which may be on the meta device.

    The tables of words and the output layer are left out: a step reads a few rows of the one and nothing of the
    other.
    """
    unread = {id(model.word_embedding.weight)}
    scores = model.backbone.get_output_embeddings()
    unread |= {id(parameter) for parameter in scores.parameters()} if scores is not None else set()
    read = sum(p.numel() * p.element_size() for p in model.parameters() if id(p) not in unread)
    static = StaticStep(model, cameras)
    static.load(INSTRUCTION)
    with FlopCounterMode(display=False) as counter:
        static.compute()
    return Effort(read, int(counter.get_total_flops()))


def copy_speed(device: torch.device) -> float:
    """Bytes per second that a CUDA device reads and writes when it copies 1 GiB."""
    source = torch.empty(COPIED_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * COPIED_BYTES / _device_seconds(lambda: target.copy_(source), device)


def matrix_speed(device: torch.device) -> float:
    """Operations per second of a bfloat16 product of square matrices on a CUDA device."""
    left, right = (torch.randn(MATRIX, MATRIX, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * MATRIX**3 / _device_seconds(lambda: left @ right, device)


def _device_seconds(work: Callable[[], object], device: torch.device, repeats: int = 20) -> float:
    for _ in range(3):
        work()
    torch.cuda.synchronize(device)
    started = time.perf_counter()
    for _ in range(repeats):
        work()
    torch.cuda.synchronize(device)
    return (time.perf_counter() - started) / repeats
