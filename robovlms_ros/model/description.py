"""What a model is made of, and what a configuration says, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.config import RoboVLMConfig
from robovlms_ros.model.config_reader import load_json, parse_config, unread_keys
from robovlms_ros.model.dead_keys import DEAD_KEYS
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.model.registry import backbone_class
from robovlms_ros.model.vlm_builder import build_model, find_vlm_folder

# Filled in for early published files, which lack them.
_ASSUMED = ("robovlm_name", "vlm", "tokenizer", "norm_action", "norm_min", "norm_max")


def parameter_counts(model: BaseRoboVLM) -> dict[str, int]:
    """Parameters of each part and in total, tied ones once. The model may be on the meta device."""
    towers = {
        f"backbone.{model.vision_tower_path}.": "vision tower",
        f"backbone.{model.text_tower_path}.": "language model",
        "backbone.": "rest of the backbone",
    }
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        part = next((part for prefix, part in towers.items() if name.startswith(prefix)), name.split(".")[0])
        counts[part] = counts.get(part, 0) + parameter.numel()
    return counts | {"total": sum(counts.values())}


def describe_config(path: Path, vlm_dir: Path | None = None) -> dict[str, Any]:
    """What an upstream configuration makes: JSON-serialisable, section by section.

    ``model``: backbone, head, window and the like. ``backbone``: the class, or why there is none, and parameter
    counts where the backbone's folder is found. ``honoured``: keys that have an effect, with their values.
    ``assumed``: values of keys that the file lacks. ``dead``: keys that change nothing, with the reason.
    ``unknown``: keys without a meaning here. Raises `ConfigError` where the configuration is not valid.
    """
    raw = load_json(path)
    config = parse_config(raw, str(path))
    flat = dict(_flatten(raw))
    unread = set(unread_keys(raw))
    known = {key: value for key, value in flat.items() if not any(_below(key, other) for other in unread)}
    return {
        "model": _summary(config),
        "backbone": _backbone(config, path, vlm_dir),
        "honoured": known,
        "assumed": {
            key: value
            for key, value in config.model_dump(mode="json", include=set(_ASSUMED), exclude_none=True).items()
            if key not in raw
        },
        "dead": {key: DEAD_KEYS[key] for key in sorted(unread & DEAD_KEYS.keys())},
        "unknown": sorted(unread - DEAD_KEYS.keys()),
    }


def _summary(config: RoboVLMConfig) -> dict[str, Any]:
    head = config.act_head
    return {
        "backbone": config.robovlm_name,
        "policy head": None if head is None else head.type,
        "window": config.window_size,
        "chunk": config.fwd_pred_next_n,
        "cameras": ["static", "hand"] if config.use_hand_rgb else ["static"],
        "image size": config.image_size,
        "history": None if head is None else head.history_type,
        "action space": None if head is None else head.action_space,
        "action range": [config.norm_min, config.norm_max] if config.norm_action else None,
    }


def _backbone(config: RoboVLMConfig, path: Path, vlm_dir: Path | None) -> dict[str, Any]:
    try:
        cls = backbone_class(config.robovlm_name)
        cls.check_config(config)
    except ConfigError as error:
        return {"can be built": False, "reason": str(error)}
    found: dict[str, Any] = {"can be built": True, "transformers class": cls.backbone_class}
    try:
        folder = find_vlm_folder(config, path.parent, vlm_dir)
    except ConfigError as error:
        return found | {"folder": None, "reason": str(error)}
    return found | {"folder": str(folder), "parameters": parameter_counts(build_model(config, folder))}


def _below(key: str, other: str) -> bool:
    return key == other or key.startswith(f"{other}.")


def _flatten(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
