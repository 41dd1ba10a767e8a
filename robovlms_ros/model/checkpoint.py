"""Reads the tensors of a checkpoint, and nothing else: no code in a file is ever run."""

from __future__ import annotations

import hashlib
import logging
import pickle
import re
import tarfile
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robovlms_ros.model.errors import WeightsError
from robovlms_ros.model.inert_pickle import read_inert
from robovlms_ros.model.safetensors_files import INDEX_SUFFIX, read_safetensors

logger = logging.getLogger(__name__)
Tensors = dict[str, Tensor]

_FOREIGN_OBJECT = re.compile(r"(?:GLOBAL|Unsupported class|Trying to instantiate class|function) ([\w.]+\.\w+)")
_DAMAGE = (
    *(RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError),
    *(pickle.UnpicklingError, zipfile.BadZipFile, MemoryError, AssertionError),  # torch's reader asserts
)


def read_checkpoint(path: str | Path) -> Tensors:
    """The tensors of a checkpoint, by their names in the model (``backbone.*``, ``act_head.*``, ...).

    Takes a ``.pt`` or ``.safetensors`` file or a ``.safetensors.index.json``. The dict may stand under
    ``state_dict`` or ``model_state_dict``, and its keys may start with ``module.`` and ``model.``, as in
    upstream's files. Files are mapped, not read. Python objects beside the tensors are left out, never made:
    their names are logged. Raises `WeightsError`.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise WeightsError(_about_folder(path))
    if not path.is_file():
        raise WeightsError(f"checkpoint {path} does not exist; check the path")
    if path.stat().st_size == 0:
        raise WeightsError(f"checkpoint {path} is empty (0 bytes); copy or download it again")
    safe = path.name.endswith((".safetensors", INDEX_SUFFIX))
    content = read_safetensors(path) if safe else _read_torch(path)
    return _rename(_state_dict(content, path), path)


def _about_folder(path: Path) -> str:
    files = {file.name for file in path.iterdir()}
    if "zero_to_fp32.py" in files or "latest" in files or (path / "checkpoint").is_dir():
        return (
            f"checkpoint {path} is a DeepSpeed folder, with the weights in pieces; join them with "
            f"'python {path / 'zero_to_fp32.py'} {path} model.pt' where DeepSpeed is installed, or with "
            "Lightning's convert_zero_checkpoint_to_fp32_state_dict, and give the file that comes out"
        )
    return f"checkpoint {path} is a folder; give a .pt or .safetensors file"


def _read_torch(path: Path) -> Any:
    zipped = zipfile.is_zipfile(path)
    if not zipped and tarfile.is_tarfile(path):
        # Torch before 2.6 unpickles these without protection (CVE-2025-32434).
        raise WeightsError(
            f"checkpoint {path} is a tar file, PyTorch's format from before 2017; save its state_dict again, with "
            "torch.save or as .safetensors"
        )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        if zipped:
            return _read_tensors_alone(path)
        # Torch's own message advises to switch the protection off, so it is not passed on.
        name = _FOREIGN_OBJECT.search(str(error))
        if name is None:
            raise _damaged(path) from error
        raise WeightsError(
            f"checkpoint {path} is in PyTorch's format from before 1.6 and holds a Python object ({name[1]}), "
            "which could run code; where you trust its source, save its state_dict alone, with torch.save or as "
            ".safetensors"
        ) from error
    except _DAMAGE as error:
        raise _damaged(path) from error


def _read_tensors_alone(path: Path) -> Any:
    try:
        content, left_out = read_inert(path)
    except _DAMAGE as error:
        raise _damaged(path) from error
    if left_out:
        logger.warning("%s: Python objects beside the tensors were not loaded: %s", path, listing(left_out))
    return content


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
    names = {key: key.removeprefix("module.") for key in tensors}
    # Upstream registers some backbones a second time under the name "model"; that is no prefix to remove.
    prefixed = any(name.startswith(("model.backbone.", "model.act_head.")) for name in names.values())
    renamed: Tensors = {}
    for key, tensor in tensors.items():
        name = names[key].removeprefix("model.") if prefixed else names[key]
        if name in renamed:
            raise WeightsError(f"checkpoint {path} holds {name} twice, with and without a prefix; keep one")
        renamed[name] = tensor
    return renamed


def refuse_non_finite(tensors: Mapping[str, Tensor], source: str) -> None:
    """Raise `WeightsError` naming the tensors that hold a NaN or an infinity."""
    bad = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not _is_finite(tensor)]
    if bad:
        raise WeightsError(
            f"{source}: NaN or infinity in {listing(bad)}; use a checkpoint from before training diverged, or "
            "bfloat16 if it is only float16 that its numbers are too large for"
        )


def _is_finite(tensor: Tensor) -> bool:
    # A sum touches every value once and makes no copy; only a suspicious one is looked at in full.
    total = tensor.sum(dtype=torch.float32)
    return bool(torch.isfinite(total)) or bool(torch.isfinite(tensor).all())


class WeightsDigest:
    """SHA-256 over names, types, shapes and values: the same for a ``.pt`` and the packed copy of it."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def update(self, name: str, tensor: Tensor) -> None:
        """Take one tensor; all of them must come in the order of their names."""
        tensor = tensor.detach().cpu().contiguous()
        self._digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        values: Any = tensor.reshape(-1).view(torch.uint8).numpy()
        self._digest.update(values)

    def hexdigest(self) -> str:
        """The digest of everything so far, 64 hexadecimal digits."""
        return self._digest.hexdigest()


def weights_digest(tensors: Mapping[str, Tensor]) -> str:
    """The `WeightsDigest` of all ``tensors``."""
    digest = WeightsDigest()
    for name in sorted(tensors):
        digest.update(name, tensors[name])
    return digest.hexdigest()


def listing(names: Iterable[str], limit: int = 8) -> str:
    """The names, the first few of them where there are many."""
    all_names = sorted(names)
    more = f" and {len(all_names) - limit} more" if len(all_names) > limit else ""
    return ", ".join(all_names[:limit]) + more
