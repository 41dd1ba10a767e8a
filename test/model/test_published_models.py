"""All that upstream has published is built at its full size, on the meta device, or says what to use instead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import golden_cases
import pytest

from robovlms_ros.model.config_reader import read_config
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.model.vlm_builder import build_model, find_vlm_folder

# Upstream's own files lie beside the checkouts of those who build this.
CONFIGS = Path(__file__).parents[3] / "shared" / "data" / "upstream_configs"
KOSMOS = "finetune_kosmos_cont-lstm-post_full-ft_text_vision_wd-0_"

# Of the backbones' own config.json, what differs from the defaults of transformers.
KOSMOS_2: dict[str, Any] = {"model_type": "kosmos-2"}
PALIGEMMA_3B_PT_224: dict[str, Any] = {
    "model_type": "paligemma",
    "image_token_index": 257152,
    "text_config": {
        "model_type": "gemma",
        "hidden_size": 2048,
        "intermediate_size": 16384,
        "num_hidden_layers": 18,
        "num_attention_heads": 8,
        "num_key_value_heads": 1,
        "vocab_size": 257216,
    },
    "vision_config": {
        "model_type": "siglip_vision_model",
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_hidden_layers": 27,
        "num_attention_heads": 16,
        "image_size": 224,
        "patch_size": 14,
        "vision_use_head": False,
    },
}
# LLaVA-Lightning-MPT-7B-preview, in the form that transformers' Llava gives it.
LLAVA_MPT_7B: dict[str, Any] = {
    "model_type": "llava",
    "vision_config": {
        "model_type": "clip_vision_model",
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "image_size": 224,
        "patch_size": 14,
    },
    "text_config": {
        "model_type": "mpt",
        "d_model": 4096,
        "n_heads": 32,
        "n_layers": 32,
        "vocab_size": 50282,
        "max_seq_len": 2048,
    },
}
# With the backbone's parameters: those of Kosmos-2 and PaliGemma as their files are published.
BUILT = {
    **{
        KOSMOS + name: (KOSMOS_2, 1_664_485_376)
        for name in (
            *("ws-8_act-10", "use-hand_ws-16_act-10", "use-hand_ws-16_act-10_bridge_finetune"),
            *("use-hand_ws-16_act-10_oxe_pretrain", "use-hand_ws-16_act-10_rt_finetune"),
        )
    },
    "finetune_paligemma_cont-lstm-post_full-ft_text_vision_wd=0_ws-8_act-10": (PALIGEMMA_3B_PT_224, 2_923_466_480),
    "finetune_llava-mpt-7b_cont-lstm-post_ful_ft_wd=0_hist-8_act-10": (
        LLAVA_MPT_7B,
        pytest.approx(7.2e9, rel=0.02),
    ),
}
REFUSED = {
    "finetune_flamingo_mpt_3b_ws-8_act-10_lstm_calvin": "idefics-9b",
    "finetune_moondream_cont-all-lstm-post_full-ft_text_vision_wd=0_ws-8_act-10": "RoboSmolVLM or RoboPaligemma",
    "finetune_qwen-vl-7b_cont-lstm-post_full_ft_text_vision_wd=0_ws-8_act-10": "RoboQwenVL",
    "finetune_uform_cont-lstm-post_full-ft_text_vision_wd=0_ws-8_act-10": "RoboSmolVLM",
}


def published(name: str) -> Path:
    path = CONFIGS / f"{name}.json"
    if not path.is_file():
        pytest.skip(f"{path.name} is not here")
    return path


def test_every_published_configuration_is_among_these() -> None:
    if not CONFIGS.is_dir():
        pytest.skip("upstream's configurations are not here")
    assert {path.stem for path in CONFIGS.glob("finetune_*.json")} == BUILT.keys() | REFUSED.keys()


@pytest.mark.parametrize("name", BUILT)
def test_a_published_model_is_built(name: str, tmp_path: Path) -> None:
    backbone, parameters = BUILT[name]
    tokenizer = golden_cases.FOLDER / "vlm" / "kosmos2_tiny"
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / file).write_bytes((tokenizer / file).read_bytes())
    (tmp_path / "config.json").write_text(json.dumps(backbone))
    config = read_config(published(name))
    model = build_model(config, find_vlm_folder(config, tmp_path, tmp_path))
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    assert config.fwd_pred_next_n == model.act_head.chunk_length == 10
    assert sum(parameter.numel() for parameter in model.backbone.parameters()) == parameters


@pytest.mark.parametrize("name", REFUSED)
def test_a_published_model_that_cannot_be_had_says_what_to_use_instead(name: str, tmp_path: Path) -> None:
    config = read_config(published(name))
    for attempt in (lambda: find_vlm_folder(config, tmp_path), lambda: build_model(config, tmp_path)):
        with pytest.raises(ConfigError, match=REFUSED[name]):
            attempt()
