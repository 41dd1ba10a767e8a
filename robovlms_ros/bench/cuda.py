"""A CUDA device in bfloat16: a step launched kernel by kernel, and as one captured graph, against its limit."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from robovlms_ros.bench.captured import BUCKET, StaticStep
from robovlms_ros.bench.limits import copy_speed, effort, matrix_speed
from robovlms_ros.bench.models import INSTRUCTION, camera_image, make_model
from robovlms_ros.bench.table import Cell, Table
from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.policy.preprocess import ImagePreprocessor

COLUMNS = (
    "cameras",
    "way",
    "p50, ms",
    "p95, ms",
    "times as fast",
    "least possible, ms",
    "of the limit",
    "largest difference",
)
TARGET = 0.30
# Another order of additions in bfloat16, of values in [-1, 1].
ROUNDING = 0.05
STEPS = 24


def why_not() -> str | None:
    """Why there is nothing to measure, or None."""
    return None if torch.cuda.is_available() else "torch finds no CUDA device here"


def measure(scale: str, repeats: int, progress: Callable[[str], None], name: str = "cuda") -> list[Table]:
    """Measure one and two cameras on the device ``name``; only the full size says something of real models."""
    device = torch.device(name)
    progress("what the device can do")
    copied, computed = copy_speed(device), matrix_speed(device)
    progress("making a model")
    model = make_model(scale, device=name).to(torch.bfloat16)
    rows: list[tuple[Cell, ...]] = []
    problems = []
    for cameras in (1, 2):
        progress(f"{cameras} cameras" if cameras > 1 else "one camera")
        least = effort(model, cameras).seconds(copied, computed)
        static, frames = StaticStep(model, cameras), _frames(model, cameras)
        static.load(INSTRUCTION)
        difference = _difference(model, static, frames)
        eager, again, captured = _in_turns(model, static, frames, repeats)
        middle = float(np.median(eager))
        for way, times, differs in (
            ("kernel by kernel", eager, None),
            ("kernel by kernel, again (A/A)", again, None),
            ("captured graph", captured, difference),
        ):
            p50, p95 = np.percentile(times, [50, 95])
            row = (
                float(p50) * 1e3,
                float(p95) * 1e3,
                middle / float(p50),
                least * 1e3,
                f"{least / p50:.0%}",
                differs,
            )
            rows.append((cameras, way, *row))
        share = least / float(np.median(captured))
        if not difference <= ROUNDING:
            problems.append(f"{cameras} cameras: the captured graph's actions differ by {difference:.1e}")
        if scale == "full" and share < TARGET:
            problems.append(f"{cameras} cameras: {share:.0%} of the limit, target {TARGET:.0%}")
    notes = (
        f"The limit is the larger of weights / {copied / 1e12:.2f} TB/s and operations / {computed / 1e12:.0f} "
        "TFLOP/s, both measured right before: a copy of 1 GiB and a product of matrices.",
        "Times are from the images on the device to the chunk on the CPU. The text is padded to a multiple of "
        f"{BUCKET} tokens behind its end token.",
    )
    title = f"{torch.cuda.get_device_name(device)}, bfloat16: Kosmos-2 with an LSTM head, `post`, scale: {scale}"
    return [Table(title, COLUMNS, tuple(rows), notes, tuple(problems))]


def _frames(model: BaseRoboVLM, cameras: int) -> list[torch.Tensor]:
    prepare = ImagePreprocessor(
        model.config.image_size, model.image_mean, model.image_std, "fast", model.device, model.dtype
    )
    pictures = [camera_image(seed) for seed in range(STEPS + cameras)]
    return [prepare(pictures[first : first + cameras]).unsqueeze(0) for first in range(STEPS)]


class _Eager:
    """The step as a session runs it."""

    def __init__(self, model: BaseRoboVLM) -> None:
        self._model, self._memory = model, model.init_state()
        self._text = model.embed_text(model.encode_text(INSTRUCTION))

    @torch.inference_mode()
    def step(self, pixels: torch.Tensor) -> torch.Tensor:
        images = self._model.encode_images(pixels)
        memory, tokens = self._model.observe(self._memory, images, self._text)
        self._memory, output = self._model.decide(memory, tokens)
        return output.pose.float().cpu()


def _difference(model: BaseRoboVLM, static: StaticStep, frames: list[torch.Tensor]) -> float:
    """The largest difference of a pose between the two ways over an episode longer than the window."""
    plain, largest = _Eager(model), 0.0
    static.reset()
    for pixels in frames:
        difference = float((static.step(pixels).pose.float().cpu() - plain.step(pixels)).abs().max())
        largest = difference if not difference <= largest else largest
    return largest


def _in_turns(
    model: BaseRoboVLM, static: StaticStep, frames: list[torch.Tensor], repeats: int
) -> tuple[list[float], list[float], list[float]]:
    plain = _Eager(model)
    ways: tuple[Callable[[torch.Tensor], object], ...] = (
        plain.step,
        plain.step,
        lambda pixels: static.step(pixels).pose.float().cpu(),
    )
    times: tuple[list[float], list[float], list[float]] = ([], [], [])
    for number in range(repeats):
        for way, found in zip(ways, times, strict=True):
            pixels = frames[number % len(frames)]
            if pixels.is_cuda:
                torch.cuda.synchronize(pixels.device)
            started = time.perf_counter()
            way(pixels)
            found.append(time.perf_counter() - started)
    return times
