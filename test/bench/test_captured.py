"""The step that a CUDA graph records: tested where there is no CUDA, as the same sums in the same order."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from robovlms_ros.bench.captured import BUCKET, StaticStep
from robovlms_ros.bench.limits import effort
from robovlms_ros.bench.models import make_model
from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.errors import ModelError

TEXTS = ("pick up the red block", "pick up the red block and place it", "open")


@pytest.fixture(scope="module")
def model() -> BaseRoboVLM:
    return make_model("tiny")


@pytest.mark.parametrize("cameras", [1, 2])
@torch.no_grad()
def test_padded_text_and_a_window_in_tensors_change_nothing(model: BaseRoboVLM, cameras: int) -> None:
    static = StaticStep(model, cameras)
    side, window = model.config.image_size, model.config.window_size
    random = torch.Generator().manual_seed(0)
    for text in TEXTS:
        static.load(text)
        embedded, memory = model.embed_text(model.encode_text(text)), model.init_state()
        for _ in range(window + 2 if text == TEXTS[0] else 3):  # the window fills, and slides
            pixels = torch.randn(1, cameras, 3, side, side, generator=random)
            memory, tokens = model.observe(memory, model.encode_images(pixels), embedded)
            memory, expected = model.decide(memory, tokens)
            output = static.step(pixels)
            torch.testing.assert_close(output.pose, expected.pose, atol=1e-6, rtol=0)
            torch.testing.assert_close(output.gripper, expected.gripper, atol=1e-5, rtol=0)


def test_texts_of_one_bucket_share_a_shape(model: BaseRoboVLM) -> None:
    static = StaticStep(model, 1)
    lengths = {}
    for text in TEXTS:
        static.load(text)
        lengths[text] = static._length
        exact = model.encode_text(text).shape[1]
        padded = -(-exact // BUCKET) * BUCKET
        assert static._length == 64 + padded + 1  # one camera's tokens and ACT
    assert set(static._sequences) == set(lengths.values())


class Operations(TorchDispatchMode):
    """Notes what is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(str(function).split(".")[1])
        return function(*args, **(kwargs or {}))


@torch.no_grad()
def test_no_operation_of_the_step_waits_for_a_value_or_brings_one_from_the_host(model: BaseRoboVLM) -> None:
    static = StaticStep(model, 2)
    static.load(TEXTS[0])
    with Operations() as operations:
        static.compute()
    assert "index_select" in operations.names
    # What a capture refuses: reading a number back, shapes that depend on numbers, tensors made of Python's.
    refused = {"_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "lift_fresh", "unique"}
    assert not operations.names & refused


def test_what_cannot_be_held_still_is_refused() -> None:
    with pytest.raises(ModelError, match="only 'post' models"):
        StaticStep(make_model("tiny", "pre"), 1)


def test_the_limit_of_the_full_size_is_that_of_the_arithmetic() -> None:
    """3 GB of weights in bfloat16, 184 and 344 GMAC: 0.71 and 0.87 ms at 4.3 TB/s and 790 TFLOP/s."""
    full = make_model("full", device="meta").to(torch.bfloat16).to("meta")
    one, two = (effort(full, cameras) for cameras in (1, 2))
    assert 2.9e9 < one.bytes < 3.3e9
    assert one.bytes == two.bytes
    assert one.seconds(4.3e12, 790e12) == pytest.approx(0.71e-3, rel=0.1)
    assert two.seconds(4.3e12, 790e12) == pytest.approx(0.87e-3, rel=0.1)
