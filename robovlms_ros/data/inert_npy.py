"""Reads a ``.npy`` file that holds a pickled Python object, without making any object that it names.

NumPy pickles what is no plain array, and unpickling runs whatever a file says. Here only text, numbers, lists and
mappings come back, and NumPy's numbers as plain ones; arrays inside (such as embeddings) are left out, and so is
everything else.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from robovlms_ros.data.errors import DataError
from robovlms_ros.model.inert import Inert

# Longest header that NumPy itself writes for such a file is some 130 bytes.
_HEADER_LIMIT = 10_000
_NUMBERS = {"i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8", "b1"}


class _Array:
    """An array of objects: its items are kept, whatever its shape."""

    def __init__(self, *args: object) -> None:
        self.items: list[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        content = state[4]
        self.items = content if isinstance(content, list) else None


class _DType:
    """A type of numbers."""

    def __init__(self, name: object = "", *args: object) -> None:
        self.name = str(name)
        self.order = "<"

    def __setstate__(self, state: Any) -> None:
        if state[1] in ("<", ">"):
            self.order = state[1]


class _Function:
    """A function that a file may call, and nothing else."""

    __slots__ = ("_function",)

    def __init__(self, function: Any) -> None:
        self._function = function

    def __call__(self, *args: object) -> object:
        return self._function(*args)

    def __setstate__(self, *state: object) -> None: ...


def _scalar(dtype: object, data: object) -> object:
    if not isinstance(dtype, _DType) or dtype.name not in _NUMBERS or not isinstance(data, bytes):
        return Inert()
    return np.frombuffer(data, dtype=dtype.order + dtype.name, count=1)[0].item()


def _bytes(text: object, encoding: object) -> object:
    # How protocol 2 writes bytes.
    return text.encode("latin-1") if isinstance(text, str) and encoding == "latin1" else Inert()


_KNOWN = {
    **{f"numpy.{core}.multiarray._reconstruct": _Function(_Array) for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": _Function(_scalar) for core in ("core", "_core")},
    "numpy.dtype": _Function(_DType),
    "_codecs.encode": _Function(_bytes),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        return _KNOWN.get(f"{module}.{name}", Inert)

    def persistent_load(self, pid: Any, /) -> object:
        return Inert()


def read_inert_npy(path: Path) -> Any:
    """The object in a ``.npy`` file of one object. Raises `DataError` where it is damaged, or something else."""
    try:
        stream = io.BytesIO(path.read_bytes())
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream, max_header_size=_HEADER_LIMIT)
        if shape != () or not dtype.hasobject:
            raise DataError(f"{path} holds an array of {dtype} {shape}, not one object")
        content = _Unpickler(stream).load()
    except DataError:
        raise
    except Exception as error:  # what a damaged pickle leads to has no bounds
        raise DataError(f"{path} cannot be read: {error or type(error).__name__}") from error
    if not isinstance(content, _Array) or not content.items or len(content.items) != 1:
        raise DataError(f"{path} holds no object that is known")
    return content.items[0]
