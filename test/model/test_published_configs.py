"""Every form of configuration that upstream has published is read."""

from __future__ import annotations

import copy
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from robovlms_ros.model.config_reader import merge, parse_config, read_config

# Upstream's own files lie beside the checkouts of those who build this; the forms below repeat their differences.
FOLDER = Path(__file__).parents[3] / "shared" / "data" / "upstream_configs"
PUBLISHED = sorted(FOLDER.glob("finetune_*.json"))

KOSMOS: dict[str, Any] = {
    "parent": None,
    "robovlm_name": "RoboKosMos",
    "task_name": "calvin_finetune",
    "model": "kosmos",
    "model_url": "https://huggingface.co/microsoft/kosmos-2-patch14-224",
    "image_size": 224,
    "image_mean": [0.48, 0.46, 0.41],
    "image_std": [0.27, 0.26, 0.28],
    "window_size": 16,
    "fwd_pred_next_n": 10,
    "batch_size": 4,
    "optimizer": "adam",
    "learning_rate": 2e-05,
    "min_lr_scale": 0.01,
    "weight_decay": 0,
    "warmup_epochs": 0.25,
    "warmup_steps": 0,
    "warmup_ratio": None,
    "use_hand_rgb": True,
    "use_time_causal_attn": False,
    "use_mim_obs_loss": False,
    "vision_masked_ratio": 0.9,
    "cap_loss_ratio": 0.05,
    "arm_gripper_loss_ratio": 0.01,
    "fwd_loss_ratio": 0,
    "seed": 123,
    "model_load_path": None,
    "resume": None,
    "norm_action": True,
    "norm_min": -0.65,
    "norm_max": 0.65,
    "train_setup": {
        "precision": "bf16",
        "predict_action": True,
        "predict_forward": False,
        "train_vision": True,
        "bits": -1,
        "freeze_backbone": False,
        "lora_enable": False,
        "lora_r": 64,
        "lora_alpha": 16,
        "lora_dropout": 0.05,
        "lora_bias": "none",
        "train_text_embedding": True,
    },
    "vision_resampler": {"vis_dim": 1024, "depth": 8, "dim_head": 64, "heads": 8, "num_latents": 64},
    "act_encoder": None,
    "act_head": {
        "type": "LSTMDecoder",
        "hidden_size": 1024,
        "action_dim": 7,
        "down_sample": "none",
        "latent": 1,
        "fwd_pred_next_n": 1,
        "window_size": 1,
        "action_space": "continuous",
        "with_history": True,
        "history_type": "post",
    },
    "fwd_head": None,
    "tokenizer": {
        "type": "AutoProcessor",
        "pretrained_model_name_or_path": ".vlms/kosmos-2-patch14-224",
        "tokenizer_type": "kosmos",
        "max_text_len": 256,
        "additional_special_tokens": None,
    },
    "vlm": {
        "type": "AutoModelForVision2Seq",
        "name": "kosmos",
        "pretrained_model_name_or_path": ".vlms/kosmos-2-patch14-224",
    },
    "trainer": {
        "accelerator": "gpu",
        "strategy": "deepspeed_stage_2",
        "precision": "16",
        "logger": ["tensorboard"],
        "gradient_clip_val": 1.0,
        "use_distributed_sampler": False,
        "log_every_n_steps": 10,
        "max_epochs": 5,
        "val_check_interval": None,
        "check_val_every_n_epoch": 1,
        "max_steps": -1,
        "accumulate_grad_batches": 1,
    },
    "train_dataset": {"type": "DiskCalvinDataset", "data_dir": "calvin/training", "shift_first": False},
    "val_dataset": [{"type": "DiskCalvinDataset", "data_dir": "calvin/validation"}],
}
POOLED = {"action_space": "down_sample", "down_sample": "pooling", "token_source": "all"}
OXE_DATA = {"type": "OpenVLADataset", "data_root_dir": "openvla", "data_mix": "bridge", "window_sample": "sliding"}
DIFFERENCES: dict[str, dict[str, Any]] = {
    "kosmos, two cameras": {},
    "kosmos, one camera": {"window_size": 8, "use_hand_rgb": False, "batch_size": 41},
    "open x-embodiment": {
        "task_name": "oxe_pretrain",
        "train_dataset": OXE_DATA,
        "trainer": {"max_steps": 50000, "val_check_interval": 10000, "check_val_every_n_epoch": None},
    },
    "paligemma": {"robovlm_name": "RoboPaligemma", "model": "paligemma", "window_size": 8},
    "llava": {
        "robovlm_name": "RoboLLaVA",
        "model": "llava",
        "vl_cotrain_ratio": 1,
        "tokenizer": {"type": "AutoTokenizer", "additional_special_tokens": [], "max_text_len": 64},
        "trainer": {"precision": "bf16", "accumulate_grad_batches": 4, "limit_val_batches": 100},
    },
    "qwen": {
        "robovlm_name": "RoboQwen",
        "model": "qwen",
        "image_size": 448,
        "train_setup": {"train_vision": False},
        "tokenizer": {"use_img_start_end": False, "image_start_token": "<im_start>"},
    },
    "moondream": {"robovlm_name": "RoboMoonDream", "model": "moondream", "use_vision_resampler": True},
    "uform": {"robovlm_name": "RoboUform", "model": "uform", "act_head": POOLED},
    "flamingo": {
        "robovlm_name": "RoboFlamingo",
        "model": "flamingo",
        "gradient_clip_val": 1.0,
        "weight_decay": 0.1,
        "act_head": POOLED,
        "train_setup": {
            "__override__": True,
            "predict_action": True,
            "train_vision": False,
            "train_resampler": True,
            "train_full_decoder": False,
            "train_decoder_layers": -1,
        },
        "vlm": {"name": "mpt_1b_ift", "residual": False},
        "tokenizer": {"additional_special_tokens": ["<|endofchunk|>", "<image>"]},
        "vision_encoder": {"clip_vision_encoder_path": "ViT-L-14", "clip_vision_encoder_pretrained": "openai"},
    },
    "as saved by a training run": {
        "config": "configs/calvin.json",
        "exp_name": "first",
        "raw_config_path": "configs/calvin.json",
        "llm": {"type": None},
        "gpus": 8,
        "num_nodes": 1,
        "log_dir": "runs/logs",
        "output_dir": "runs/checkpoints",
    },
}


@pytest.mark.parametrize("changes", DIFFERENCES.values(), ids=DIFFERENCES)
def test_every_published_form_is_valid_without_a_warning(
    changes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    raw = merge(copy.deepcopy(KOSMOS), changes)
    config = parse_config(raw)
    assert caplog.records == []
    assert config.act_head is not None
    assert (config.robovlm_name, config.window_size) == (raw["robovlm_name"], raw["window_size"])
    assert (config.fwd_pred_next_n, config.act_head.hidden_size) == (10, 1024)


@pytest.mark.skipif(not PUBLISHED, reason="upstream's own configurations are not beside this checkout")
def test_upstreams_own_files_are_valid_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    configs = {path: read_config(path) for path in PUBLISHED}
    assert caplog.records == []
    assert len(configs) == 11
    for path, config in configs.items():
        raw = json.loads(path.read_text())
        assert config.act_head is not None
        assert (config.window_size, config.norm_min, config.norm_max) == (raw["window_size"], -0.65, 0.65)
        assert config.use_hand_rgb == raw["use_hand_rgb"]
        assert config.act_head.action_space == raw["act_head"]["action_space"]


def test_dead_keys_are_named_with_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="robovlms_ros.model.config_reader"):
        parse_config(KOSMOS | {"misspelt": 1})
    warning, note = (record.getMessage() for record in caplog.records)
    assert warning.endswith("ignored: misspelt")
    for said in (
        "act_head.window_size (the top-level key of that name wins)",
        "act_head.with_history (never read)",
        "optimizer (the optimiser is always AdamW)",
        "trainer.gradient_clip_val (the top-level key of that name wins)",
        "use_time_causal_attn (belongs to the image-forward head",
    ):
        assert said in note
