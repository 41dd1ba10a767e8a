"""LLaVA's image tokens and hidden states are those of the whole transformers model, whatever its text model is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_backbones import ACT, IMAGE, INSTRUCTION, encode_cameras, images, make_config, make_model

from robovlms_ros.model.errors import ConfigError
from robovlms_ros.model.vlm_builder import build_model


@pytest.mark.parametrize(
    ("name", "tokens_per_image"),
    [("llava-llama", 4), ("llava-qwen2", 4), ("llava-mistral", 5), ("llava-mpt", 4)],
)
def test_hidden_states_are_those_of_the_whole_model(name: str, tokens_per_image: int) -> None:
    model = make_model(name)
    static, hand = images(2).split(1)
    ids = model.encode_text(INSTRUCTION)
    tokens = [*ids[0, :1], *[IMAGE] * 2 * tokens_per_image, *ids[0, 1:-1], ACT]
    whole = model.backbone.model(input_ids=torch.tensor([tokens]), pixel_values=torch.cat([hand, static]))
    encoded = encode_cameras(model, static, hand)
    assert encoded.shape == (1, 2, tokens_per_image, 32)
    seen = model.fuse(encoded, model.embed_text(ids))
    torch.testing.assert_close(seen, whole.last_hidden_state[:, -1:], rtol=0, atol=1e-5)


def test_a_folder_of_the_original_package_says_how_to_convert_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llava_mpt"}))
    with pytest.raises(ConfigError, match=r"llava-hf/.*convert_llava_weights_to_hf"):
        build_model(make_config("llava-llama"), tmp_path)
