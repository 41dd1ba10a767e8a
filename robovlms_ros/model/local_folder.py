"""Loads a model of transformers from a folder on this machine; nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robovlms_ros.model.errors import ConfigError, WeightsError


def load_pretrained(class_name: str, folder: str | Path) -> Any:
    """An instance of the transformers class, in evaluation mode, in float32.

    Raises `ConfigError` where the folder has no such model, `WeightsError` where weights are missing in it.
    """
    import transformers

    folder = Path(folder).expanduser()
    if not (folder / "config.json").is_file():
        raise ConfigError(
            f"no config.json in {folder}; give the folder of a {class_name} in transformers' format "
            "(config.json, model.safetensors, tokenizer files)"
        )
    cls = getattr(transformers, class_name)
    try:
        model, info = cls.from_pretrained(folder, local_files_only=True, output_loading_info=True, dtype="float32")
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{folder} cannot be loaded as {class_name}: {error}") from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise WeightsError(
            f"{folder} lacks {len(missing)} weights of a {class_name}, such as {missing[0]}; "
            "give the folder of that model"
        )
    return model.eval()
