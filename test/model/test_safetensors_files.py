"""Safetensors, whole and in parts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from robovlms_ros.model.checkpoint import read_checkpoint, weights_digest
from robovlms_ros.model.errors import WeightsError
from robovlms_ros.model.safetensors_files import find_safetensors, read_safetensors, write_safetensors

TENSORS = {f"act_head.{i}": torch.full((10,), float(i)) for i in range(7)} | {"ids": torch.arange(3)}
SIZE = 7 * 40 + 24


def written(folder: Path, limit: int) -> Path:
    write_safetensors(TENSORS.items(), SIZE, folder, "model", limit)
    path = find_safetensors(folder, "model")
    assert path is not None
    return path


def test_what_fits_is_one_file(tmp_path: Path) -> None:
    assert written(tmp_path, SIZE) == tmp_path / "model.safetensors"
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize(("limit", "parts"), [(SIZE - 1, 3), (80, 8), (8, 8)])
def test_more_is_split_with_the_index_that_others_read(tmp_path: Path, limit: int, parts: int) -> None:
    path = written(tmp_path, limit)
    index = json.loads(path.read_text())
    assert path.name == "model.safetensors.index.json"
    assert index["metadata"] == {"total_size": SIZE}
    names = [f"model-{number:05d}-of-{parts:05d}.safetensors" for number in range(1, parts + 1)]
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([*names, path.name])
    for key, name in index["weight_map"].items():
        with safe_open(tmp_path / name, "pt") as file:
            assert torch.equal(file.get_tensor(key), TENSORS[key])
    assert all((tmp_path / name).stat().st_mode & 0o777 == 0o644 for name in names)


@pytest.mark.parametrize("limit", [SIZE, 80])
def test_what_was_written_is_read(tmp_path: Path, limit: int) -> None:
    path = written(tmp_path, limit)
    assert weights_digest(read_safetensors(path)) == weights_digest(TENSORS)
    assert weights_digest(read_checkpoint(path)) == weights_digest(TENSORS)


def test_numbers_are_cast_and_indices_are_not(tmp_path: Path) -> None:
    tensors = read_safetensors(written(tmp_path, 80), torch.bfloat16)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16, torch.int64}


def test_views_and_tensors_that_share_memory_are_written_apart(tmp_path: Path) -> None:
    base = torch.arange(6.0)
    tensors = {"a": base[:4], "b": base[2:], "c": base.view(2, 3).T, "d": base.view(2, 3).T}
    write_safetensors(tensors.items(), 80, tmp_path, "model")
    assert weights_digest(read_safetensors(tmp_path / "model.safetensors")) == weights_digest(tensors)


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, 80)
    (tmp_path / "model-00002-of-00008.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"model-00002-of-00008\.safetensors does not exist"):
        read_safetensors(path)


def test_an_index_that_does_not_fit_its_files_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, 80)
    index = json.loads(path.read_text())
    del index["weight_map"]["ids"]
    path.write_text(
        json.dumps(index | {"weight_map": index["weight_map"] | {"x": "model-00001-of-00008.safetensors"}})
    )
    with pytest.raises(WeightsError, match="does not describe"):
        read_safetensors(path)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"weight_map": {"a": 3}}', '{"weight_map": {"a": []}}'])
def test_a_damaged_index_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(content)
    with pytest.raises(WeightsError, match=str(path)):
        read_safetensors(path)


@pytest.mark.parametrize("name", ["/etc/x.safetensors", "../x.safetensors"])
def test_an_index_cannot_point_out_of_its_folder(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(WeightsError, match="outside its folder"):
        read_safetensors(path)
