"""Safetensors on disk: one file, or several with an index in the form that the Hugging Face Hub has made usual."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from robovlms_ros.model.errors import WeightsError

INDEX_SUFFIX = ".safetensors.index.json"
SIZE_LIMIT = 2 * 10**9
"""Bytes that go into one file; more are spread over files of half that size."""


def find_safetensors(folder: Path, name: str) -> Path | None:
    """The file or the index of ``name`` in ``folder``, or None."""
    candidates = folder / f"{name}.safetensors", folder / f"{name}{INDEX_SUFFIX}"
    return next((path for path in candidates if path.is_file()), None)


def write_safetensors(
    tensors: Iterable[tuple[str, Tensor]], size: int, folder: Path, name: str, limit: int = SIZE_LIMIT
) -> None:
    """Write ``NAME.safetensors``, or its parts and their index, into ``folder``, which exists.

    Args:
        tensors: taken one after the other; only the tensors of one part are held at a time.
        size: bytes of all of them.
        folder: where to write.
        name: of the file, without suffix.
        limit: bytes from which on the file is split.
    """
    part_limit = limit if size <= limit else limit // 2
    parts: list[list[str]] = []
    part: dict[str, Tensor] = {}
    for key, tensor in tensors:
        if part and sum(map(_size, part.values())) + _size(tensor) > part_limit:
            _save(part, folder / f"{name}.part{len(parts)}")
            parts.append(list(part))
            part = {}
        part[key] = _on_its_own(tensor, part)
    if not parts:
        _save(part, folder / f"{name}.safetensors")
        return
    _save(part, folder / f"{name}.part{len(parts)}")
    parts.append(list(part))
    weight_map = {}
    for number, keys in enumerate(parts):
        file = f"{name}-{number + 1:05d}-of-{len(parts):05d}.safetensors"
        (folder / f"{name}.part{number}").rename(folder / file)
        weight_map.update(dict.fromkeys(keys, file))
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    (folder / f"{name}{INDEX_SUFFIX}").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _on_its_own(tensor: Tensor, others: dict[str, Tensor]) -> Tensor:
    """The tensor without gaps and apart from others in memory, as safetensors wants it; mostly the same one."""
    tensor = tensor.contiguous()
    place = tensor.untyped_storage().data_ptr()
    shared = any(other.untyped_storage().data_ptr() == place for other in others.values())
    return tensor.clone() if shared else tensor


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)  # safetensors leaves it readable by its owner alone


def read_safetensors(path: Path, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """The tensors of a file or of all files of an index, mapped; copies in ``dtype`` where theirs is another.

    Raises `WeightsError` where a file is missing, damaged, or not what the index says.
    """
    if not path.name.endswith(INDEX_SUFFIX):
        return _load(path, dtype)
    weight_map = _weight_map(path)
    tensors: dict[str, Tensor] = {}
    # File by file: after a conversion a file's mapping is given up before the next one is read.
    for name in sorted(set(weight_map.values())):
        tensors |= _load(path.with_name(name), dtype)
    if tensors.keys() != weight_map.keys():
        raise WeightsError(f"checkpoint {path} does not describe the files beside it; copy or download all again")
    return tensors


def _load(path: Path, dtype: torch.dtype | None) -> dict[str, Tensor]:
    try:
        tensors = load_file(path)
    except FileNotFoundError as error:
        raise WeightsError(f"checkpoint {path} does not exist; copy or download all files of the index") from error
    except SafetensorError as error:
        raise WeightsError(f"checkpoint {path} is damaged ({error}); copy or download it again") from error
    return tensors if dtype is None else {name: cast(tensor, dtype) for name, tensor in tensors.items()}


def cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """The tensor in ``dtype`` if it holds floating-point numbers; the same tensor where nothing changes."""
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _weight_map(path: Path) -> dict[str, str]:
    try:
        weight_map = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        names = set(weight_map.values())
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise WeightsError(f"checkpoint {path} is no index of safetensors files; download it again") from error
    if any(not isinstance(name, str) or Path(name).name != name for name in names):
        raise WeightsError(f"checkpoint {path} names files outside its folder; do not use it")
    return dict(weight_map)
