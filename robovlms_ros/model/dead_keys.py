"""Keys that upstream's configurations hold and that change nothing, each with the reason."""

from __future__ import annotations

from collections.abc import Mapping

_SECTIONS_BY_REASON: Mapping[str, Mapping[str, str]] = {
    "never read": {
        "": "seq_len warmup_ratio",
        "act_head": "with_history cont_token_nun",
        "tokenizer": "use_img_start_end image_start_token image_end_token use_act_start_end action_start_token "
        "action_end_token use_bbox_start_end bbox_start_token bbox_end_token",
    },
    "the top-level key of that name wins": {
        "act_head": "fwd_pred_next_n window_size",
        "trainer": "gradient_clip_val",
    },
    "resolved while reading": {"": "parent"},
    "the optimiser is always AdamW": {"": "optimizer"},
    "every backbone has its own constants": {"": "image_mean image_std"},
    "the resampler has fixed sizes": {"": "vision_resampler"},
    "upstream looks it up under a misspelt name, so no model was trained with it": {"": "use_state"},
    "trainer.precision wins": {"train_setup": "precision"},
    "belongs to the image-forward head, which upstream does not contain": {
        "": "fwd_head use_time_causal_attn use_mim_obs_loss use_pixel_loss use_obs_queries vision_masked_ratio "
        "use_tube_mask",
        "train_setup": "predict_forward predict_forward_hand predict_caption",
    },
    "belongs to LLaVA's own trainer": {
        "train_setup": "bits freeze_mm_mlp_adapter tune_mm_mlp_adapter mm_use_im_start_end mm_use_im_patch_token "
        "mm_projector_lr",
    },
    "describes upstream's own run": {
        "": "model_url model_path model_config model_load_path model_load_source resume config exp_name "
        "raw_config_path log_dir output_dir data_dir gpus num_nodes llm qwen llava llava_config",
        "trainer": "accelerator strategy logger use_distributed_sampler devices num_nodes",
    },
}

DEAD_KEYS: Mapping[str, str] = {
    f"{section}.{key}".lstrip("."): reason
    for reason, sections in _SECTIONS_BY_REASON.items()
    for section, keys in sections.items()
    for key in keys.split()
}
"""Dotted path of a dead key -> why it is dead. They are accepted; the log names them."""
