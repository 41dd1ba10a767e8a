"""Reads the YAML of a training run, with values set from the command line, and says what is wrong with it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from robovlms_ros.model.config import RoboVLMConfig
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.train.config import TrainingConfig


class _Loader(yaml.SafeLoader):
    """YAML 1.2's numbers: to YAML 1.1 the ``1e-4`` that everybody writes is a word."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def parse_yaml(text: str) -> Any:
    """What ``text`` says, as safe YAML. Raises `yaml.YAMLError`."""
    return _Loader(text).get_single_data()


def read_training_config(path: Path, settings: Sequence[str] = ()) -> TrainingConfig:
    """The configuration in ``path`` with ``settings``, each ``section.key=value``, laid over it.

    Paths in it are relative to the working directory. Raises `ConfigError` naming the key, and for an unknown one
    the nearest that exists.
    """
    path = path.expanduser()
    if not path.is_file():
        raise ConfigError(f"training configuration {path} does not exist; config/train has examples")
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"training configuration {path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"training configuration {path} must map keys to values, like those in config/train")
    for setting in settings:
        _set(content, setting)
    return parse_training_config(content, str(path))


def parse_training_config(content: Mapping[str, Any], source: str = "training configuration") -> TrainingConfig:
    """The same for what is in memory already."""
    unknown = [*_unknown(content, TrainingConfig), *_unknown_overrides(content)]
    if unknown:
        raise ConfigError(f"{source}: {'; '.join(unknown)}")
    try:
        return TrainingConfig.model_validate(content)
    except ValidationError as error:
        problems = (_describe(problem) for problem in error.errors(include_url=False))
        raise ConfigError(f"{source}: {'; '.join(problems)}") from error


def write_training_config(config: TrainingConfig, path: Path) -> None:
    """Write a configuration that reads back as the same, every default said."""
    content = config.model_dump(mode="json")
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def _set(content: dict[str, Any], setting: str) -> None:
    key, equals, text = setting.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(f"--set {setting!r}: write it as section.key=value, for example optim.batch_size=8")
    try:
        value = parse_yaml(text) if text else ""
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {setting!r}: the value is not valid YAML: {error}") from error
    section: Any = content
    for part in parts[:-1]:
        if section.get(part) is None:
            section[part] = {}
        section = section[part]
        if not isinstance(section, dict):
            raise ConfigError(f"--set {setting!r}: {part!r} is a value, not a section")
    section[parts[-1]] = value


def _unknown(content: Mapping[str, Any], section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for key, value in content.items():
        field = section.model_fields.get(key)
        if field is None:
            yield _advice(prefix, key, section)
            continue
        inner = _section_type(field.annotation)
        if inner is None:
            continue
        for number, part in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(part, Mapping):
                place = f"{prefix}{key}[{number}]." if isinstance(value, list) else f"{prefix}{key}."
                yield from _unknown(part, inner, place)


def _unknown_overrides(content: Mapping[str, Any]) -> Iterator[str]:
    """Overrides are upstream's keys; an unknown one would be ignored there, but was meant to change something."""
    model = content.get("model")
    overrides = model.get("overrides") if isinstance(model, Mapping) else None
    if isinstance(overrides, Mapping):
        yield from _unknown(overrides, RoboVLMConfig, "model.overrides.")


def _advice(prefix: str, key: str, section: type[BaseModel]) -> str:
    known = list(section.model_fields)
    nearest = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
    hint = f"did you mean '{nearest[0]}'?" if nearest else f"there are {', '.join(known)}"
    return f"unknown key '{prefix}{key}': {hint}"


def _section_type(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType, list):
        return next(filter(None, map(_section_type, get_args(annotation))), None)
    return None


def _describe(problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or "configuration"
    if problem["type"] == "missing":
        return f"key '{key}' is missing"
    if problem["type"] == "value_error":
        return f"{key}: {problem['ctx']['error']}"
    return f"key '{key}' is {problem['input']!r}: {problem['msg']}"
