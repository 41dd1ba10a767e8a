"""What we take from transformers by name, with an explanation where it cannot be had."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from robovlms_ros.model.errors import ConfigError, ModelError


def transformers_class(name: str) -> Any:
    """The class ``name`` of transformers. Raises `ModelError`, with the cure where torchvision is to blame."""
    import transformers

    try:
        return getattr(transformers, name)
    except AttributeError as error:
        raise ConfigError(
            f"transformers {_version('transformers')} has no {name}; correct the name, or install a version that "
            "has it"
        ) from error
    except ImportError as error:
        # transformers imports torchvision wherever it is installed, and hides the reason behind its own message.
        reason = f"transformers cannot import {name} ({error.__cause__ or error})"
        if find_spec("torchvision") is None:
            raise ModelError(f"{reason}; install transformers again") from error
        raise ModelError(
            f"{reason}: torchvision {_version('torchvision')} does not work beside torch {_version('torch')}. "
            "Nothing here needs it: 'pip uninstall torchvision', or install the build made for this torch, from "
            "the same package index"
        ) from error


def model_type(folder: Path) -> str:
    """What the ``config.json`` in ``folder`` says that the model is; empty where it does not say."""
    from transformers import PretrainedConfig

    try:
        content, _ = PretrainedConfig.get_config_dict(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise _unreadable(folder, error) from error
    return str(content.get("model_type", ""))


def read_backbone_config(folder: Path) -> Any:
    """The transformers configuration in ``folder``. Code that may lie beside it is not run."""
    from transformers import CONFIG_MAPPING, AutoConfig

    # Where imports are broken, a configuration with parts fails with a message that explains nothing.
    transformers_class("PreTrainedModel")
    stated = model_type(folder)
    if stated not in CONFIG_MAPPING:
        raise ConfigError(
            f"{folder / 'config.json'} describes a {stated!r}, unknown to transformers "
            f"{_version('transformers')}; code that comes with a model is never run here: use a model that "
            "transformers has classes for"
        )
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, TypeError) as error:
        raise _unreadable(folder, error) from error


def vlm_class(name: str, backbone_config: Any) -> Any:
    """The class that ``vlm.type`` of a configuration means.

    It is a class, or one of transformers' ``AutoModel...``. Of these, ``AutoModelForVision2Seq`` has left
    transformers and the others mean a part of the model, so all stand for the whole vision-language model.
    """
    if not name.startswith("AutoModel"):
        return transformers_class(name)
    known = transformers_class("MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING")
    if type(backbone_config) not in known:
        raise ConfigError(
            f"transformers lists no vision-language model for {backbone_config.model_type!r}; "
            "name its class as vlm.type"
        )
    return known[type(backbone_config)]


def _unreadable(folder: Path, error: Exception) -> ConfigError:
    return ConfigError(f"{folder / 'config.json'} cannot be read: {error}; copy the backbone's files there again")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(of unknown version)"
