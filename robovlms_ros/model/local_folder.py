"""Loads a model of transformers from a folder on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from robovlms_ros.model.errors import ConfigError, WeightsError
from robovlms_ros.model.transformers_classes import transformers_class

# No pickles and no code.
_WANTED = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")


def find_folder(name: str | Path, allow_download: bool = False) -> Path:
    """The folder ``name``, or a copy of the Hugging Face Hub's model ``name`` where it may be downloaded."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if not allow_download:
        raise ConfigError(f"{name} is no folder here, and downloading is off: give the folder of a model")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(snapshot_download(str(name), allow_patterns=list(_WANTED)))
    except (HFValidationError, HfHubHTTPError, OSError) as error:
        raise ConfigError(f"{name} is no folder here and cannot be downloaded: {error}") from error


def load_pretrained(class_name: str, folder: str | Path, dtype: torch.dtype = torch.float32) -> Any:
    """An instance of the transformers class on the CPU, in evaluation mode. Nothing is downloaded.

    Raises `ConfigError` where the folder has no such model, `WeightsError` where weights are missing in it.
    """
    folder = Path(folder).expanduser()
    if not (folder / "config.json").is_file():
        raise ConfigError(
            f"no config.json in {folder}; give the folder of a {class_name} in transformers' format "
            "(config.json, model.safetensors, tokenizer files)"
        )
    cls = transformers_class(class_name)
    try:
        model, info = cls.from_pretrained(folder, local_files_only=True, output_loading_info=True, dtype=dtype)
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{folder} cannot be loaded as {class_name}: {error}") from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise WeightsError(
            f"{folder} lacks {len(missing)} weights of a {class_name}, such as {missing[0]}; "
            "give the folder of that model"
        )
    return model.eval()
