"""Reads the tensors of a ``.pt`` file that also holds Python objects, without making any of these objects.

Training frameworks put hyperparameters and the like beside the weights, and unpickling an object runs whatever
the file says. Here no name in a file is ever imported: the few with which torch describes a tensor stand for
plain data of this module, every other one for `Inert`. Tensors are made afterwards, mapped from the file.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from robovlms_ros.model.inert import Inert


class InertContent(NamedTuple):
    """What a file holds: mappings, tensors and plain values; and the names of what was left out, sorted."""

    content: Any
    left_out: list[str]


class _Mapping(dict[Any, Any]):
    """An OrderedDict of the file; attributes that the file would set on it are dropped."""

    __slots__ = ()

    def __setstate__(self, *state: object) -> None: ...


class _Storage(NamedTuple):
    key: str
    dtype: torch.dtype
    length: int


class _StoredTensor(NamedTuple):
    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _Function:
    """A function that a file may call and cannot alter, as it could the attributes of a plain one."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., object]) -> None:
        self._function = function

    def __call__(self, *args: object) -> object:
        return self._function(*args)

    def __setstate__(self, *state: object) -> None: ...


def _stored_tensor(
    storage: object, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object
) -> object:
    return _StoredTensor(storage, offset, size, stride) if isinstance(storage, _Storage) else Inert()


def _same(value: object, *_: object) -> object:
    return value


def _of_subclass(function: object, _type: object, args: tuple[object, ...], *_: object) -> object:
    return function(*args) if isinstance(function, _Function) else Inert()


_DTYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_KNOWN: Mapping[str, object] = {
    "collections.OrderedDict": _Mapping,
    "torch._utils._rebuild_tensor": _Function(_stored_tensor),
    "torch._utils._rebuild_tensor_v2": _Function(_stored_tensor),
    "torch._utils._rebuild_parameter": _Function(_same),
    "torch._utils._rebuild_parameter_with_state": _Function(_same),
    "torch._tensor._rebuild_from_type_v2": _Function(_of_subclass),
    **{f"torch.{name}": dtype for name, dtype in _DTYPES.items()},
}


class _Unpickler(pickle.Unpickler):
    left_out: set[str]

    def find_class(self, module: str, name: str, /) -> Any:
        known = _KNOWN.get(f"{module}.{name}")
        if known is None:
            self.left_out.add(f"{module}.{name}")
        return Inert if known is None else known

    def persistent_load(self, pid: Any, /) -> object:
        kind, dtype, key, _location, length = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            return Inert()
        return _Storage(str(key), dtype, int(length))


def read_inert(path: Path) -> InertContent:
    """The content of a file that ``torch.save`` wrote (version 1.6 or later), with `Inert` for every object.

    Raises whatever the pickle or zip modules raise at a damaged file, and ValueError where a tensor reaches
    beyond its data.
    """
    with zipfile.ZipFile(path) as archive:
        name = next((name for name in archive.namelist() if name.endswith("/data.pkl")), None)
        if name is None:
            raise ValueError("no data.pkl")
        root = name.removesuffix("data.pkl")
        if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
            raise ValueError("written on a big-endian machine")
        with archive.open(name) as stream:
            unpickler = _Unpickler(stream, encoding="utf-8")
            unpickler.left_out = set()
            content = unpickler.load()
        tensors = _MappedTensors(path, archive, root)
        return InertContent(_restore(content, tensors, depth=2), sorted(unpickler.left_out))


class _MappedTensors:
    """Makes the tensors of one file, without reading them; those that share data there share it here."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, root: str) -> None:
        self._path, self._archive, self._root = path, archive, root
        self._file = torch.UntypedStorage.from_file(str(path), False, path.stat().st_size)
        self._storages: dict[str, torch.UntypedStorage] = {}

    def make(self, stored: _StoredTensor) -> Tensor:
        key = stored.storage.key
        if key not in self._storages:
            self._storages[key] = self._map(stored.storage)
        last = sum((length - 1) * step for length, step in zip(stored.size, stored.stride, strict=True))
        inside = 0 <= stored.offset <= stored.offset + last < stored.storage.length
        if min((*stored.size, *stored.stride, 0)) < 0 or not (inside or 0 in stored.size):
            raise ValueError(f"a tensor reaches beyond its data {key}")
        empty = torch.empty(0, dtype=stored.storage.dtype)
        return empty.set_(self._storages[key], stored.offset, stored.size, stored.stride)

    def _map(self, storage: _Storage) -> torch.UntypedStorage:
        entry = self._archive.getinfo(f"{self._root}data/{storage.key}")
        length = storage.length * storage.dtype.itemsize
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size < length:
            raise ValueError(f"data {storage.key} is compressed or cut short")
        # In front of the data is a copy of the directory's entry, with fields of its own length.
        with self._path.open("rb") as file:
            file.seek(entry.header_offset + 26)
            name_length, extra_length = (int.from_bytes(file.read(2), "little") for _ in range(2))
        start = entry.header_offset + 30 + name_length + extra_length
        if start + length > self._file.nbytes():
            raise ValueError(f"data {storage.key} is cut short")
        mapped: torch.UntypedStorage = self._file[start : start + length]
        return mapped


def _restore(value: object, tensors: _MappedTensors, depth: int) -> object:
    """Tensors in place of their descriptions, in the mapping and in those that it holds."""
    if isinstance(value, _StoredTensor):
        return tensors.make(value)
    if isinstance(value, Mapping) and depth:
        return {key: _restore(item, tensors, depth - 1) for key, item in value.items()}
    return value
