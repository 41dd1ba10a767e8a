"""Reads the tensors of a checkpoint, and nothing else: no code in a file is ever run."""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from robovlms_ros.model.errors import WeightsError

Tensors = dict[str, Tensor]
_FOREIGN_OBJECT = re.compile(r"(?:GLOBAL|Unsupported class|Trying to instantiate class|function) ([\w.]+\.\w+)")


def read_checkpoint(path: str | Path) -> Tensors:
    """The tensors of a ``.pt`` or ``.safetensors`` file, by their names in the model (``backbone.*``, ...).

    The dict may stand under ``state_dict`` or ``model_state_dict``, and its keys may start with ``module.``
    and ``model.``, as in upstream's files. Large files are mapped, not read. Raises `WeightsError`.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise WeightsError(
            f"checkpoint {path} is a folder; give a .pt or .safetensors file "
            "(DeepSpeed folders: convert them with the zero_to_fp32.py that lies inside)"
        )
    if not path.is_file():
        raise WeightsError(f"checkpoint {path} does not exist; check the path")
    if path.stat().st_size == 0:
        raise WeightsError(f"checkpoint {path} is empty (0 bytes); copy or download it again")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    return _rename(_state_dict(content, path), path)


def _read_safetensors(path: Path) -> Tensors:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise WeightsError(f"checkpoint {path} is damaged ({error}); copy or download it again") from error


def _read_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        # Torch's own message advises to switch the protection off, so it is not passed on.
        name = _FOREIGN_OBJECT.search(str(error))
        if name is None:
            raise _damaged(path) from error
        raise WeightsError(
            f"checkpoint {path} holds a Python object ({name[1]}) and was refused, because loading it could run "
            "code; where you trust its source, save its state_dict alone, with torch.save or as .safetensors"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> WeightsError:
    return WeightsError(f"checkpoint {path} is cut short, damaged or no PyTorch file; copy or download it again")


def _state_dict(content: Any, path: Path) -> Mapping[str, Tensor]:
    if isinstance(content, Mapping):
        for key in ("state_dict", "model_state_dict"):
            if isinstance(content.get(key), Mapping):
                content = content[key]
                break
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(
            f"checkpoint {path} has no 'state_dict' or 'model_state_dict' with tensors; "
            "give the file that training wrote"
        )
    return {str(key): value for key, value in content.items() if isinstance(value, Tensor)}


def _rename(tensors: Mapping[str, Tensor], path: Path) -> Tensors:
    renamed: Tensors = {}
    for key, tensor in tensors.items():
        name = key.removeprefix("module.").removeprefix("model.")
        if name in renamed:
            raise WeightsError(f"checkpoint {path} holds {name} twice, with and without a prefix; keep one")
        renamed[name] = tensor
    return renamed


def refuse_non_finite(tensors: Mapping[str, Tensor], source: str) -> None:
    """Raise `WeightsError` naming the tensors that hold a NaN or an infinity."""
    bad = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not _is_finite(tensor)]
    if bad:
        raise WeightsError(f"{source}: NaN or infinity in {listing(bad)}; use a checkpoint from before that")


def _is_finite(tensor: Tensor) -> bool:
    # A sum touches every value once and makes no copy; only a suspicious one is looked at in full.
    total = tensor.sum(dtype=torch.float32)
    return bool(torch.isfinite(total)) or bool(torch.isfinite(tensor).all())


def weights_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values: the same for a ``.pt`` and the packed copy of it."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        values: Any = tensor.reshape(-1).view(torch.uint8).numpy()
        digest.update(values)
    return digest.hexdigest()


def listing(names: Iterable[str], limit: int = 8) -> str:
    """The names, the first few of them where there are many."""
    all_names = sorted(names)
    more = f" and {len(all_names) - limit} more" if len(all_names) > limit else ""
    return ", ".join(all_names[:limit]) + more
