"""Builds a model from its configuration and the folder of its backbone, with weights still to come.

`build_vlm` alone loads weights: those of a pretrained vision-language model, for training to start from.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.config import RoboVLMConfig, TokenizerConfig, VlmConfig
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.model.local_folder import find_folder, load_pretrained
from robovlms_ros.model.registry import backbone_class
from robovlms_ros.model.transformers_classes import model_type, read_backbone_config, vlm_class

# Lightning's names. With mixed precision the weights are float32.
_WEIGHT_DTYPES = {
    torch.float32: ("32", "32-true", "fp32", "16", "16-mixed", "bf16-mixed"),
    torch.bfloat16: ("bf16", "bf16-true"),
    torch.float16: ("fp16", "16-true"),
}


def find_vlm_folder(config: RoboVLMConfig, config_folder: Path, vlm_dir: Path | None = None) -> Path:
    """The folder with the backbone's ``config.json`` and tokenizer files.

    ``vlm_dir`` is that folder itself or one that the configuration's path is relative to; without it the path
    is relative to the configuration's own folder. Raises `ConfigError` with the places that were tried, or where
    there is no such backbone, in which case no folder would help.
    """
    backbone_class(config.robovlm_name).check_config(config)
    named = Path(config.vlm.pretrained_model_name_or_path).expanduser()
    bases = [config_folder] if vlm_dir is None else [vlm_dir.expanduser()]
    tried = [
        *(bases if vlm_dir else []),
        *(base / named for base in bases),
        *(base / named.name for base in bases),
    ]
    for folder in tried:
        if (folder / "config.json").is_file():
            return folder
    raise ConfigError(
        f"no backbone in {', '.join(str(folder) for folder in tried)}: give the folder that holds the "
        f"config.json and tokenizer files of {named.name} (its weights are not needed) as vlm_dir"
    )


def build_model(
    config: RoboVLMConfig, vlm_folder: Path, device: str = "meta", heads: str | None = None
) -> BaseRoboVLM:
    """The network of ``config`` around the backbone described in ``vlm_folder``, in float32.

    On the meta device (the default) no weight is allocated, only the tables that no checkpoint holds; on any
    other device the weights are random. ``heads`` is another device for what is not the backbone. Raises
    `ConfigError`.
    """
    cls = backbone_class(config.robovlm_name)
    cls.check_config(config)
    stated = model_type(vlm_folder)
    if stated != cls.model_type:
        advice = cls.advice.get(stated, "use the folder that belongs to this model")
        raise ConfigError(
            f"{config.robovlm_name} needs a {cls.model_type!r} backbone, but {vlm_folder / 'config.json'} "
            f"describes a {stated!r}; {advice}"
        )
    backbone_config = read_backbone_config(vlm_folder)
    image_size = getattr(getattr(backbone_config, "vision_config", None), "image_size", config.image_size)
    if image_size not in (config.image_size, [config.image_size] * 2, (config.image_size,) * 2):
        raise ConfigError(
            f"image_size is {config.image_size}, but the backbone in {vlm_folder} takes images of {image_size}; "
            "set image_size to that"
        )
    cls.adapt_backbone_config(backbone_config, config)
    tokenizer = load_tokenizer(vlm_folder, config.tokenizer)
    with torch.device(device):
        # Parts of a backbone follow the type that its config.json was saved with.
        backbone = cls.build_backbone(backbone_config).float()
    with torch.device(heads or device):
        model = cls(config, backbone, tokenizer)
    _materialise_tables(backbone)
    _check_vocabulary(model, config.tokenizer)
    return model.eval()


def build_vlm(
    vlm_config: Mapping[str, Any],
    tokenizer_config: Mapping[str, Any],
    precision: str | int = "32",
    device: str = "cpu",
    allow_download: bool = False,
) -> tuple[Any, Any]:
    """A pretrained vision-language model with its tokenizer: ``(tokenizer, model)``, in upstream's order.

    Args:
        vlm_config: section ``vlm`` of a configuration.
        tokenizer_config: section ``tokenizer``.
        precision: ``trainer.precision``; see `weight_dtype`.
        device: the weights are loaded on the CPU and then moved there.
        allow_download: whether the paths may name models of the Hugging Face Hub.

    Code that comes with a model is never run. Raises `ModelError`.
    """
    try:
        vlm = VlmConfig.model_validate(vlm_config)
        tokens = TokenizerConfig.model_validate(tokenizer_config)
    except ValidationError as error:
        raise ConfigError(f"the section 'vlm' or 'tokenizer' of the configuration is wrong: {error}") from error
    dtype = weight_dtype(precision, device)
    folder = find_folder(vlm.pretrained_model_name_or_path, allow_download)
    cls = vlm_class(vlm.type, read_backbone_config(folder))
    tokenizer = load_tokenizer(find_folder(tokens.pretrained_model_name_or_path, allow_download), tokens)
    return tokenizer, load_pretrained(cls.__name__, folder, dtype).to(device)


def weight_dtype(precision: str | int, device: str = "cpu") -> torch.dtype:
    """Type of the weights for a ``trainer.precision``, by the rule of upstream's evaluation: "16" means float32.

    On Apple's GPU always float32. Raises `ConfigError` for an unknown precision.
    """
    for dtype, names in _WEIGHT_DTYPES.items():
        if str(precision) in names:
            return torch.float32 if device.startswith("mps") else dtype
    known = ", ".join(name for names in _WEIGHT_DTYPES.values() for name in names)
    raise ConfigError(f"precision is {precision!r}; choose one of {known}")


def load_tokenizer(folder: Path, settings: TokenizerConfig) -> Any:
    """The tokenizer in ``folder``, with the configuration's additional special tokens and a padding token."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the tokenizers library raises plain Exception for a damaged file
        raise ConfigError(
            f"no usable tokenizer in {folder} ({error}); copy the backbone's tokenizer files there again"
        ) from error
    if settings.additional_special_tokens:
        tokenizer.add_special_tokens({"additional_special_tokens": settings.additional_special_tokens})
    if tokenizer.pad_token is None:
        tokenizer.add_special_tokens({"pad_token": "<PAD>"})
    return tokenizer


def _check_vocabulary(model: BaseRoboVLM, settings: TokenizerConfig) -> None:
    # Some backbones keep the embeddings of later tokens in a second table.
    rows = sum(table.shape[0] for table in model.word_embedding.parameters())
    added = settings.additional_special_tokens or []
    without = [token for token in added if model.tokenizer.convert_tokens_to_ids(token) >= rows]
    if without:
        raise ConfigError(
            f"tokenizer.additional_special_tokens has {', '.join(without)}, for which the backbone, with {rows} "
            "tokens, has no embedding; remove them, or use the backbone's config.json that has them"
        )


def _materialise_tables(backbone: Any) -> None:
    """Fill position tables and the like, which a state_dict leaves out, on a backbone built on the meta device."""
    for module in backbone.modules():
        tables = [name for name, table in module.named_buffers(recurse=False) if table.is_meta]
        for name in tables:
            module._buffers[name] = torch.empty_like(module._buffers[name], device="cpu")
        if tables:
            # What transformers itself does for tables after loading; its parameters are still on meta, so
            # nothing but the tables is written.
            _owner(backbone, module)._init_weights(module)


def _owner(backbone: nn.Module, module: nn.Module) -> Any:
    """The innermost pretrained model around ``module``: its own configuration is what sizes the tables."""
    from transformers import PreTrainedModel

    owners = [m for m in backbone.modules() if isinstance(m, PreTrainedModel) and module in set(m.modules())]
    return owners[-1]
