"""Flamingo's hidden states are those of the whole Idefics model; what cannot be had says what to do instead."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_backbones import ACT, INSTRUCTION, encode_cameras, folder, images, make_config, make_model
from torch import Tensor

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.model.flamingo_builder import FLAMINGO_MODEL_CONFIGS, build_llm_flamingo
from robovlms_ros.model.vlm_builder import build_model

POOLED = {"action_space": "down_sample", "down_sample": "pooling"}


def whole_states(model: BaseRoboVLM, ids: list[int], static: Tensor, hand: Tensor) -> Tensor:
    """Idefics with ids and two images, in the other order than ours, as it must not matter."""
    states: Tensor = model.backbone.model(
        input_ids=torch.tensor([ids]),
        pixel_values=torch.stack([static, hand], dim=1),
        image_attention_mask=torch.ones(1, len(ids), 2),
        use_cache=False,
    ).last_hidden_state
    return states


def test_hidden_states_at_act_are_those_of_the_whole_model() -> None:
    model = make_model("flamingo")
    static, hand = images(2).split(1)
    ids = model.encode_text(INSTRUCTION)
    seen = model.fuse(encode_cameras(model, static, hand), model.embed_text(ids))
    expected = whole_states(model, [*ids[0, :-1], ACT], static, hand)[:, -1:]
    torch.testing.assert_close(seen, expected, rtol=0, atol=1e-5)


def test_pooling_reads_the_whole_text_as_upstream() -> None:
    model = make_model("flamingo", act_head=POOLED)
    static, hand = images(2).split(1)
    ids = model.encode_text(INSTRUCTION)
    seen = model.fuse(encode_cameras(model, static, hand), model.embed_text(ids))
    torch.testing.assert_close(seen, whole_states(model, ids[0].tolist(), static, hand), rtol=0, atol=1e-5)


def test_a_hidden_act_token_keeps_its_place() -> None:
    model = make_model("flamingo", act_head={"fill_zero": True})
    static, hand = images(2).split(1)
    ids = model.encode_text(INSTRUCTION)
    tokens = torch.tensor([[*ids[0, :-1], ACT]])
    kept = torch.ones_like(tokens)
    kept[0, -1] = 0
    whole = model.backbone.model(
        input_ids=tokens,
        attention_mask=kept,
        position_ids=torch.arange(tokens.shape[1])[None],
        pixel_values=torch.stack([hand, static], dim=1),
        image_attention_mask=torch.ones(*tokens.shape, 2),
        use_cache=False,
    ).last_hidden_state
    seen = model.fuse(encode_cameras(model, static, hand), model.embed_text(ids))
    torch.testing.assert_close(seen, whole[:, -1:], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in FLAMINGO_MODEL_CONFIGS if name != "llama_7b"])
def test_a_language_model_of_mpt_kind_says_what_to_use_instead(name: str) -> None:
    with pytest.raises(ConfigError, match=r"idefics-9b.*vlm\.name to null"):
        build_llm_flamingo(name)
    config = make_config("flamingo", vlm={"name": name, "pretrained_model_name_or_path": "vlm"})
    with pytest.raises(ConfigError, match="idefics-9b"):
        build_model(config, folder("flamingo"))


def test_an_unknown_language_model_lists_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match="mpt_1b, mpt_1b_ift"):
        build_llm_flamingo("mpt_2b")


def test_llama_is_built_with_a_cross_attention_layer_before_every_fourth() -> None:
    with torch.device("meta"):
        flamingo = build_llm_flamingo({"name": "llama_7b", "pretrained_model_name_or_path": "anywhere"})
    assert len(flamingo.model.layers) == 32
    assert len(flamingo.model.gated_cross_attn_layers) == 8
    assert flamingo.model.perceiver_resampler.latents.shape == (64, 1024)


def test_a_folder_of_idefics_is_built() -> None:
    with torch.device("meta"):
        flamingo = build_llm_flamingo({"name": None, "pretrained_model_name_or_path": str(folder("flamingo"))})
    assert type(flamingo).__name__ == "IdeficsForVisionText2Text"


def test_another_network_is_no_flamingo() -> None:
    with pytest.raises(ConfigError, match="not of this 'llava'"):
        build_llm_flamingo({"pretrained_model_name_or_path": str(folder("llava-llama"))})


@pytest.mark.parametrize(
    ("changes", "cure"),
    [
        ({"act_head": {"history_type": "pre"}}, "history_type to 'post'"),
        ({"act_head": {"type": "DiscreteDecoder", "action_space": "discrete"}}, "action_space to"),
        ({"act_head": POOLED | {"token_source": "vision"}}, "token_source to 'all'"),
        ({"use_vision_resampler": True}, "use_vision_resampler to false"),
    ],
)
def test_what_needs_image_tokens_in_the_sequence_is_refused(changes: dict[str, Any], cure: str) -> None:
    with pytest.raises(ConfigError, match=cure):
        build_model(make_config("flamingo", **changes), folder("flamingo"))


def test_tokens_that_the_backbone_has_no_embedding_for_are_refused() -> None:
    tokenizer = {
        "pretrained_model_name_or_path": "vlm",
        "additional_special_tokens": [f"<{i}>" for i in range(20)],
    }
    with pytest.raises(ConfigError, match=r"<19>.*remove them"):
        build_model(make_config("flamingo", tokenizer=tokenizer), folder("flamingo"))
