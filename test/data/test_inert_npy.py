"""Pickled .npy files are read without making what they name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robovlms_ros.data.errors import DataError
from robovlms_ros.data.inert_npy import read_inert_npy
from robovlms_ros.model.inert import Inert


def saved(path: Path, content: Any) -> Path:
    wrapped = np.empty((), dtype=object)
    wrapped[()] = content
    np.save(path, wrapped)
    return path


def test_texts_numbers_lists_and_mappings_come_back(tmp_path: Path) -> None:
    content = {"a": ["text", 1, 2.5, None, True, (3, 4)], "b": {"c": b"bytes"}}
    assert read_inert_npy(saved(tmp_path / "x.npy", content)) == content


@pytest.mark.parametrize("dtype", ["int64", "int32", ">i4", "float32", "uint8", "bool"])
def test_numpy_numbers_come_back_as_plain_ones(tmp_path: Path, dtype: str) -> None:
    read = read_inert_npy(saved(tmp_path / "x.npy", [np.dtype(dtype).type(1), np.array([1], dtype=dtype)[0]]))
    assert read == [1, 1]
    assert {type(value) for value in read} <= {int, float, bool}


def test_arrays_are_left_out(tmp_path: Path) -> None:
    read = read_inert_npy(saved(tmp_path / "x.npy", {"emb": np.zeros((3, 4)), "ann": ["a"]}))
    assert read["ann"] == ["a"]
    assert not isinstance(read["emb"], np.ndarray)


class Evil:
    def __init__(self, call: Any, *arguments: Any) -> None:
        self._reduced = (call, arguments)

    def __reduce__(self) -> Any:
        return self._reduced


def test_nothing_that_a_file_names_is_run(tmp_path: Path) -> None:
    sentinel = tmp_path / "was here"
    content = {
        "system": Evil(os.system, f"touch '{sentinel}'"),
        "path": Evil(Path.touch, sentinel),
        "exec": Evil(exec, f"open({str(sentinel)!r}, 'w')"),
        "ann": ["kept"],
    }
    read = read_inert_npy(saved(tmp_path / "x.npy", content))
    assert read["ann"] == ["kept"]
    assert isinstance(read["system"], Inert)
    assert not sentinel.exists()


@pytest.mark.parametrize(
    "data",
    [b"", b"\x93NUMPY", b"PK\x03\x04", b"\x93NUMPY\x01\x00\x76\x00" + b"x" * 118, b"\x93NUMPY\x01\x00\xff\xff{"],
)
def test_what_is_no_such_file_is_an_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.npy").write_bytes(data)
    with pytest.raises(DataError, match=r"x\.npy cannot be read"):
        read_inert_npy(tmp_path / "x.npy")


def test_a_file_cut_short_is_an_error_wherever_it_ends(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.npy", {"language": {"ann": ["a", "b"]}, "info": {"indx": [(np.int64(1), 2)]}})
    whole = path.read_bytes()
    for cut in range(1, len(whole), 7):
        path.write_bytes(whole[:-cut])
        with pytest.raises(DataError):
            read_inert_npy(path)


def test_a_plain_array_is_not_one_object(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"holds an array of float64 \(3,\), not one object"):
        read_inert_npy(tmp_path / "x.npy")
