"""SmolVLM's and Idefics3's hidden states are those of the whole transformers model."""

from __future__ import annotations

import pytest
import torch
from tiny_backbones import ACT, IMAGE, INSTRUCTION, encode_cameras, images, make_model

names = pytest.mark.parametrize("name", ["smolvlm", "idefics3"])


@names
def test_hidden_states_are_those_of_the_whole_model(name: str) -> None:
    model = make_model(name)
    static, hand = images(2).split(1)
    ids = model.encode_text(INSTRUCTION)
    tokens = [*ids[0, :1], *[IMAGE] * 8, *ids[0, 1:-1], ACT]
    pixels = torch.stack([hand, static], dim=1)
    whole = model.backbone.model(input_ids=torch.tensor([tokens]), pixel_values=pixels)
    seen = model.fuse(encode_cameras(model, static, hand), model.embed_text(ids))
    torch.testing.assert_close(seen, whole.last_hidden_state[:, -1:], rtol=0, atol=1e-5)


@names
def test_a_black_image_is_an_image(name: str) -> None:
    # Transformers takes an image of zeros for padding and drops it; grey is zero after normalisation.
    model = make_model(name)
    assert model.image_features(torch.zeros(2, 3, 28, 28)).shape == (2, 4, 32)


@names
def test_the_prompt_stands_between_begin_and_end(name: str) -> None:
    model = make_model(name)
    ids = model.encode_text(INSTRUCTION)[0].tolist()
    assert (ids[0], ids[-1]) == (model.tokenizer.bos_token_id, model.tokenizer.eos_token_id)
    assert ids.count(ids[0]) == ids.count(ids[-1]) == 1
