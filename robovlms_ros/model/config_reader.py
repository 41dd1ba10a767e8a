"""Reads a RoboVLM configuration: parents, defaults for early published files, and clear complaints."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import ValidationError

from robovlms_ros.model.config import RoboVLMConfig, Section
from robovlms_ros.model.dead_keys import DEAD_KEYS
from robovlms_ros.model.errors import ConfigError

logger = logging.getLogger(__name__)

_BACKBONE_OF_MODEL = {
    "kosmos": "RoboKosMos",
    "paligemma": "RoboPaligemma",
    "llava": "RoboLLaVA",
    "flamingo": "RoboFlamingo",
    "qwen": "RoboQwen",
    "moondream": "RoboMoonDream",
    "uform": "RoboUform",
}


def read_config(path: str | Path) -> RoboVLMConfig:
    """Read an upstream JSON configuration, with its parents.

    Raises `ConfigError` where the file is missing or no JSON object, a required key is missing, or a value has
    the wrong type. Unknown keys are listed in one warning, keys that change nothing upstream either in one line of
    the log (level INFO), each with the reason.
    """
    return parse_config(load_json(Path(path)), source=str(path))


def load_json(path: Path, _children: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The JSON object in ``path``, merged over its ``parent`` (a path relative to the file that names it)."""
    path = path.expanduser().resolve()
    if path in _children:
        raise ConfigError(f"{path}: is its own parent; remove 'parent' from one of {[str(p) for p in _children]}")
    if not path.is_file():
        kind = "is a folder, not a JSON file" if path.is_dir() else "does not exist"
        raise ConfigError(f"model configuration {path} {kind}; give the path of the model's JSON configuration")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid JSON ({error}); fix the file or download it again") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: holds a JSON {type(content).__name__}, a configuration must be an object")
    parent = content.get("parent")
    if parent is None:
        return content
    if not isinstance(parent, str):
        raise ConfigError(f"{path}: 'parent' must be a path or null, not {parent!r}")
    return merge(load_json(path.parent / parent, (*_children, path)), content)


def merge(base: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    """``child`` over ``base``, section by section; a section with ``"__override__": true`` replaces instead."""
    merged = dict(base)
    for key, value in child.items():
        if key == "__override__":
            continue
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping) and not value.get("__override__"):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = merge({}, value) if isinstance(value, Mapping) else value
    return merged


def parse_config(raw: Mapping[str, Any], source: str = "configuration") -> RoboVLMConfig:
    """Validate a configuration that is already in memory; see `read_config`."""
    complete = _fill_early_defaults(merge({}, raw), source)
    without_meaning = list(unread_keys(complete))
    unknown = [key for key in without_meaning if key not in DEAD_KEYS]
    if unknown:
        logger.warning("%s: keys without a meaning here are ignored: %s", source, ", ".join(unknown))
    dead = "; ".join(f"{key} ({DEAD_KEYS[key]})" for key in without_meaning if key in DEAD_KEYS)
    if dead:
        logger.info("%s: keys that change nothing: %s", source, dead)
    try:
        return RoboVLMConfig.model_validate(complete)
    except ValidationError as error:
        raise ConfigError(f"{source}: {'; '.join(_describe(error))}") from error


def _fill_early_defaults(raw: dict[str, Any], source: str) -> dict[str, Any]:
    """Early published files lack ``robovlm_name``, ``vlm``, ``tokenizer`` or ``norm_*`` (upstream issue 7)."""
    if "robovlm_name" not in raw and raw.get("model") in _BACKBONE_OF_MODEL:
        raw["robovlm_name"] = _BACKBONE_OF_MODEL[raw["model"]]
    named = [raw.get("model_path")]
    named += [
        raw[key].get("pretrained_model_name_or_path") for key in ("vlm", "tokenizer") if _is_section(raw, key)
    ]
    folder = next((path for path in named if path), None)
    if folder is not None:
        raw.setdefault("vlm", {"type": "AutoModelForVision2Seq", "pretrained_model_name_or_path": folder})
        raw.setdefault("tokenizer", {"type": "AutoProcessor", "pretrained_model_name_or_path": folder})
    if "norm_action" not in raw:
        raw = {"norm_action": True, "norm_min": -0.65, "norm_max": 0.65} | raw
        logger.warning(
            "%s: no 'norm_action': assuming actions normalised from [%s, %s], as in every published model; "
            "set norm_action, norm_min and norm_max if yours differs",
            *(source, raw["norm_min"], raw["norm_max"]),
        )
    return raw


def _is_section(raw: Mapping[str, Any], key: str) -> bool:
    return isinstance(raw.get(key), Mapping)


def unread_keys(raw: Mapping[str, Any], section: type[Section] = RoboVLMConfig, prefix: str = "") -> Iterator[str]:
    """Dotted paths of the keys that nothing reads: those known to be dead, and unknown ones."""
    for key, value in raw.items():
        field = section.model_fields.get(key)
        if field is None:
            yield prefix + key
        elif isinstance(value, Mapping):
            inner = _section_type(field.annotation)
            if inner is not None:
                yield from unread_keys(value, inner, f"{prefix}{key}.")


def _section_type(annotation: Any) -> type[Section] | None:
    options = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return next((o for o in options if isinstance(o, type) and issubclass(o, Section)), None)


def _describe(error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "missing":
            yield f"key '{key}' is missing; add it (upstream's published configurations show its form)"
        else:
            yield f"key '{key}' is {problem['input']!r}: {problem['msg']}; correct that value"
