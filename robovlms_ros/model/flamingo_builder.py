"""Flamingo: a language model that looks at images through gated cross-attention, on transformers' Idefics classes.

Idefics is the open reproduction of Flamingo that transformers has: a CLIP tower, a perceiver that makes 64 tokens
of each image, LLaMA, and a gated cross-attention layer before every few of its layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from robovlms_ros.model.errors import ConfigError
from robovlms_ros.model.local_folder import find_folder
from robovlms_ros.model.transformers_classes import read_backbone_config, transformers_class


@dataclass(frozen=True)
class FlamingoParts:
    """What upstream builds a Flamingo of.

    Args:
        language_model: folder of the language model and its tokenizer, below upstream's ``VLMs/``.
        checkpoint: folder of open_flamingo's weights for the layers around it, there too.
        cross_layer_interval: a cross-attention layer stands before every so-manieth layer.
        llama: whether the language model is LLaMA, as in Idefics.
    """

    language_model: str
    checkpoint: str
    cross_layer_interval: int
    llama: bool = False


# By ``vlm.name``.
FLAMINGO_MODEL_CONFIGS: Mapping[str, FlamingoParts] = {
    "mpt_1b": FlamingoParts("mpt-1b-redpajama-200b", "OpenFlamingo-3B-vitl-mpt1b", 1),
    "mpt_1b_ift": FlamingoParts("mpt-1b-redpajama-200b-dolly", "OpenFlamingo-3B-vitl-mpt1b-langinstruct", 1),
    "mpt_3b": FlamingoParts("RedPajama-INCITE-Base-3B-v1", "OpenFlamingo-4B-vitl-rpj3b", 2),
    "mpt_3b_ift": FlamingoParts("RedPajama-INCITE-Instruct-3B-v1", "OpenFlamingo-4B-vitl-rpj3b-langinstruct", 2),
    "mpt_7b": FlamingoParts("mpt-7b", "OpenFlamingo-9B-vitl-mpt7b", 4),
    "llama_7b": FlamingoParts("llama-7b-hf-jxu124", "OpenFlamingo-9B", 4, llama=True),
}

# CLIP ViT-L/14 and open_flamingo's perceiver, which go with all of them.
_VISION = {
    "embed_dim": 1024,
    "image_size": 224,
    "patch_size": 14,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "hidden_act": "quick_gelu",
}
_PERCEIVER = {
    "use_resampler": True,
    "resampler_n_latents": 64,
    "resampler_depth": 6,
    "resampler_n_heads": 8,
    "resampler_head_dim": 64,
}


def build_llm_flamingo(llm_config: str | Mapping[str, Any] | Any) -> Any:
    """The network, on the current device (``with torch.device(...)``), with weights still to come.

    Args:
        llm_config: a name from `FLAMINGO_MODEL_CONFIGS`, the section ``vlm`` of a configuration (with such a name,
            or with the folder of an Idefics model), or an ``IdeficsConfig``.

    Raises `ConfigError` where a part cannot be had.
    """
    if isinstance(llm_config, Mapping):
        named = llm_config.get("name") in FLAMINGO_MODEL_CONFIGS
        llm_config = (
            llm_config["name"]
            if named
            else read_backbone_config(find_folder(llm_config["pretrained_model_name_or_path"]))
        )
    config = _idefics_config(llm_config) if isinstance(llm_config, str) else llm_config
    if config.model_type != "idefics" or not config.use_resampler:
        raise ConfigError(
            f"a Flamingo is built of an Idefics model with use_resampler, not of this {config.model_type!r}; "
            "take the folder of one, such as HuggingFaceM4/idefics-9b"
        )
    return transformers_class("IdeficsForVisionText2Text")(config)


def check_available(name: str) -> None:
    """Raise `ConfigError` where the Flamingo ``name`` cannot be built, saying what to do instead."""
    parts = FLAMINGO_MODEL_CONFIGS.get(name)
    if parts is None:
        raise ConfigError(f"Flamingo {name!r} is unknown; there are {', '.join(FLAMINGO_MODEL_CONFIGS)}")
    if not parts.llama:
        raise ConfigError(
            f"Flamingo {name!r} needs {parts.language_model} and the layers of {parts.checkpoint}, which "
            "transformers has no classes for, and code that comes with a model is never run here. Train on "
            "Idefics instead (Flamingo on LLaMA, HuggingFaceM4/idefics-9b): set vlm.name to null, model to "
            "'idefics', and the paths of vlm and tokenizer to its folder"
        )


def _idefics_config(name: str) -> Any:
    check_available(name)
    # IdeficsConfig's defaults are the sizes of LLaMA-7B.
    return transformers_class("IdeficsConfig")(
        cross_layer_interval=FLAMINGO_MODEL_CONFIGS[name].cross_layer_interval,
        vision_config=_VISION,
        use_resampler=True,
        perceiver_config=_PERCEIVER,
        additional_vocab_size=2,
    )
