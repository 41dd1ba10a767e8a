"""Tiny backbones of every family, as transformers configurations: a few thousand random weights, offline."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import golden_cases
import torch
from torch import Tensor

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.config import RoboVLMConfig
from robovlms_ros.model.config_reader import parse_config
from robovlms_ros.model.vlm_builder import build_model

INSTRUCTION = "pick up the red block"
SIZE = 28
# Beyond the tokens of the tokenizer, which are 429.
IMAGE, VIDEO, START, END = 430, 431, 432, 433
# Any word: a model whose ACT is the embedding of a word can be compared with the whole backbone, fed with ids.
ACT = 20

_TEXT = {
    "vocab_size": 440,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
_VISION = {
    "hidden_size": 24,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": SIZE,
    "patch_size": 14,
}
_CLIP = _VISION | {"model_type": "clip_vision_model", "projection_dim": 24}
_SMOL = {
    "image_token_id": IMAGE,
    "scale_factor": 2,
    "vision_config": _VISION | {"patch_size": 7},
    "text_config": _TEXT | {"model_type": "llama"},
}
_MPT = {"model_type": "mpt", "vocab_size": 440, "d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 4096}

# By name: robovlm_name, model, and the backbone's config.json.
TINY: Mapping[str, tuple[str, str, dict[str, Any]]] = {
    "llava-llama": (
        *("RoboLLaVA", "llava"),
        {"model_type": "llava", "image_token_index": IMAGE, "vision_config": _CLIP}
        | {"text_config": _TEXT | {"model_type": "llama", "dtype": "bfloat16"}},
    ),
    "llava-qwen2": (
        *("RoboLLaVA", "llava"),
        {"model_type": "llava", "image_token_index": IMAGE, "vision_config": _CLIP}
        | {"text_config": _TEXT | {"model_type": "qwen2"}},
    ),
    "llava-mistral": (
        *("RoboLLaVA", "llava"),
        {"model_type": "llava", "image_token_index": IMAGE, "vision_config": _CLIP}
        | {"vision_feature_layer": [-2, -1], "vision_feature_select_strategy": "full"}
        | {"text_config": _TEXT | {"model_type": "mistral"}},
    ),
    "llava-mpt": (
        *("RoboLLaVA", "llava"),
        {"model_type": "llava", "image_token_index": IMAGE, "vision_config": _CLIP, "text_config": _MPT},
    ),
    "qwenvl": (
        *("RoboQwenVL", "qwenvl"),
        {
            "model_type": "qwen2_5_vl",
            "image_token_id": IMAGE,
            "video_token_id": VIDEO,
            "vision_start_token_id": START,
            "vision_end_token_id": END,
            "vision_config": {
                "depth": 2,
                "hidden_size": 24,
                "intermediate_size": 48,
                "num_heads": 2,
                "patch_size": 7,
                "window_size": 14,
                "fullatt_block_indexes": [1],
                "out_hidden_size": 32,
            },
            "text_config": _TEXT
            | {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}},
        },
    ),
    "keypoint": (
        *("RoboKeypoint", "keypoint"),
        {
            "model_type": "robovlms_keypoint",
            "vision_config": {"image_size": SIZE, "channels": [8, 16, 16], "keypoints": 5, "tokens": 3},
            "text_config": _TEXT,
        },
    ),
    "smolvlm": ("RoboSmolVLM", "smolvlm", {"model_type": "smolvlm"} | _SMOL),
    "idefics3": ("RoboIdefics3", "smolvlm", {"model_type": "idefics3"} | _SMOL),
    "flamingo": (
        *("RoboFlamingo", "idefics"),
        {
            **{key: value for key, value in _TEXT.items() if key != "num_key_value_heads"},
            "model_type": "idefics",
            "additional_vocab_size": 2,
            "cross_layer_interval": 2,
            "alpha_initializer": "ones",
            "qk_layer_norms": True,
            "use_resampler": True,
            "vision_config": {key: value for key, value in _VISION.items() if key != "hidden_size"}
            | {"embed_dim": 24},
            "perceiver_config": {
                "use_resampler": True,
                "resampler_n_latents": 5,
                "resampler_depth": 2,
                "resampler_n_heads": 2,
                "resampler_head_dim": 8,
            },
        },
    ),
    "paligemma": (
        *("RoboPaligemma", "paligemma"),
        {
            "model_type": "paligemma",
            "image_token_index": IMAGE,
            "projection_dim": 32,
            "hidden_size": 32,
            "vision_config": _VISION | {"model_type": "siglip_vision_model", "vision_use_head": False},
            "text_config": _TEXT | {"model_type": "gemma", "head_dim": 8},
        },
    ),
    "paligemma2": (
        *("RoboPaligemma", "paligemma"),
        {
            "model_type": "paligemma",
            "image_token_index": IMAGE,
            "projection_dim": 32,
            "hidden_size": 32,
            "vision_config": _VISION | {"model_type": "siglip_vision_model", "vision_use_head": False},
            "text_config": _TEXT | {"model_type": "gemma2", "head_dim": 8, "query_pre_attn_scalar": 8},
        },
    ),
}


def raw_config(name: str, **changes: Any) -> dict[str, Any]:
    """A RoboVLM configuration for a row of `TINY`; ``act_head`` adds to its section."""
    robovlm_name, model, _ = TINY[name]
    act_head = {"type": "LSTMDecoder", "hidden_size": 16} | changes.pop("act_head", {})
    return {
        "robovlm_name": robovlm_name,
        "model": model,
        "vlm": {"pretrained_model_name_or_path": "vlm"},
        "tokenizer": {"pretrained_model_name_or_path": "vlm"},
        "act_head": act_head,
        "image_size": SIZE,
        "window_size": 4,
        "fwd_pred_next_n": 3,
        "norm_action": True,
        "norm_min": -0.65,
        "norm_max": 0.65,
    } | changes


def make_config(name: str, **changes: Any) -> RoboVLMConfig:
    return parse_config(raw_config(name, **changes))


@cache
def folder(name: str) -> Path:
    """The backbone's ``config.json`` and a tokenizer; of Qwen's kind, without begin and end, for ``qwenvl``."""
    path = Path(_folders().name) / name
    path.mkdir()
    source = golden_cases.FOLDER / "vlm" / "kosmos2_tiny"
    (path / "config.json").write_text(json.dumps(TINY[name][2]))
    (path / "tokenizer.json").write_bytes((source / "tokenizer.json").read_bytes())
    settings = json.loads((source / "tokenizer_config.json").read_text())
    if name == "qwenvl":
        settings |= {"bos_token": None, "eos_token": None, "tokenizer_class": "PreTrainedTokenizerFast"}
    (path / "tokenizer_config.json").write_text(json.dumps(settings))
    return path


@cache
def _folders() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="tiny_backbones_")


def make_model(name: str, **changes: Any) -> BaseRoboVLM:
    """A model with random weights large enough that everything depends on everything; ACT is the word `ACT`."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = build_model(make_config(name, **changes), folder(name), device="cpu")
        for weight in model.backbone.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.15)
        if hasattr(model, "action_token"):
            model.action_token.copy_(model.embed_text(torch.tensor([ACT]))[0])
    return model.requires_grad_(False)


def images(count: int, seed: int = 0) -> Tensor:
    """Preprocessed images ``(count, 3, SIZE, SIZE)``."""
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def encode_cameras(model: BaseRoboVLM, static: Tensor, hand: Tensor | None = None) -> Tensor:
    """One frame ``(1, 3, S, S)`` of each camera -> image tokens ``(1, cameras, V, D)``."""
    return model.encode_images(torch.stack([static] if hand is None else [hand, static], dim=1))
