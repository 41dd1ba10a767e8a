"""Qwen2.5-VL's patches are those of its own image processor, its hidden states those of the whole model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_backbones import ACT, END, IMAGE, INSTRUCTION, START, encode_cameras, images, make_config, make_model
from torch import Tensor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.backbone.roboqwenvl import RoboQwenVL
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.policy.preprocess import ImagePreprocessor

GRID = torch.tensor([[1, 4, 4], [1, 4, 4]])


@pytest.fixture(scope="module")
def model() -> BaseRoboVLM:
    return make_model("qwenvl")


def test_images_become_tokens_as_with_its_own_processor(model: BaseRoboVLM) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 28, 28, 3), dtype=np.uint8)
    processor = Qwen2VLImageProcessorPil(patch_size=7, merge_size=2, min_pixels=784, max_pixels=784)
    inputs = processor(images=list(pictures), return_tensors="pt")
    assert inputs["image_grid_thw"].tolist() == GRID.tolist()
    expected = torch.stack(model.backbone.get_image_features(**inputs).pooler_output)
    preprocess = ImagePreprocessor(28, model.image_mean, model.image_std, "exact")
    torch.testing.assert_close(model.image_features(preprocess(list(pictures))), expected, rtol=0, atol=1e-5)


def test_hidden_states_are_those_of_the_whole_model(model: BaseRoboVLM) -> None:
    static, hand = images(2).split(1)
    ids = model.encode_text(INSTRUCTION)
    image = [START, *[IMAGE] * 4, END]
    tokens = torch.tensor([[*image, *image, *ids[0], ACT]])
    whole = model.backbone.model(
        input_ids=tokens,
        pixel_values=_patches(torch.cat([hand, static])),
        image_grid_thw=GRID,
        position_ids=torch.arange(tokens.shape[1]).expand(3, 1, -1),
    )
    seen = model.fuse(encode_cameras(model, static, hand), model.embed_text(ids))
    torch.testing.assert_close(seen, whole.last_hidden_state[:, -1:], rtol=0, atol=1e-5)


def _patches(pixels: Tensor) -> Tensor:
    """One patch after the other, in the order of Qwen's tokens of 2x2 patches, each twice for two moments."""
    rows = [
        torch.stack([image[:, y : y + 7, x : x + 7]] * 2, dim=1).flatten()
        for image in pixels
        for top in (0, 14)
        for left in (0, 14)
        for y in (top, top + 7)
        for x in (left, left + 7)
    ]
    return torch.stack(rows)


def test_without_begin_and_end_tokens_images_come_first_and_act_last(model: BaseRoboVLM) -> None:
    assert (model.bos, model.eos) == (0, 0)
    text = model.embed_text(model.encode_text(INSTRUCTION))
    encoded = encode_cameras(model, images(1)).flatten(1, 2)
    sequence = model.arrange(encoded, text)
    torch.testing.assert_close(sequence.embeddings[:, :6], encoded)
    torch.testing.assert_close(sequence.embeddings[0, -1], model.action_token)
    assert sequence.action == slice(sequence.embeddings.shape[1] - 1, sequence.embeddings.shape[1])


def test_every_image_stands_between_its_marks(model: BaseRoboVLM) -> None:
    encoded = encode_cameras(model, *images(2).split(1))[0]
    start, end = model.embed_text(torch.tensor([START, END]))
    for camera in encoded:
        torch.testing.assert_close(camera[0], start)
        torch.testing.assert_close(camera[-1], end)


def test_an_image_size_that_is_no_whole_number_of_tokens_is_refused(model: BaseRoboVLM) -> None:
    with pytest.raises(ConfigError, match="multiple of 14"):
        RoboQwenVL.adapt_backbone_config(model.backbone.config, make_config("qwenvl", image_size=35))
