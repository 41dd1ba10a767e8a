"""Reading checkpoints: every form that upstream writes, and no code from any file."""

from __future__ import annotations

import os
import pickle
import tarfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from robovlms_ros.model.checkpoint import read_checkpoint, refuse_non_finite, weights_digest
from robovlms_ros.model.errors import WeightsError

TENSORS = {"act_head.rnn.weight": torch.arange(6.0).view(2, 3), "action_token": torch.ones(4)}


@pytest.mark.parametrize("prefix", ["model.", "", "module.model.", "module."])
@pytest.mark.parametrize("container", ["state_dict", "model_state_dict", None])
def test_reads_every_form_of_a_torch_checkpoint(tmp_path: Path, prefix: str, container: str | None) -> None:
    content = {prefix + key: value for key, value in TENSORS.items()}
    path = tmp_path / "model.pt"
    torch.save(content if container is None else {container: content, "epoch": 3}, path)
    tensors = read_checkpoint(path)
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[key], value) for key, value in TENSORS.items())


def test_reads_files_of_old_torch_versions(tmp_path: Path) -> None:
    path = tmp_path / "old.pt"
    torch.save({"state_dict": TENSORS}, path, _use_new_zipfile_serialization=False)
    assert read_checkpoint(path).keys() == TENSORS.keys()


def test_reads_safetensors(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "model.safetensors")
    assert weights_digest(read_checkpoint(tmp_path / "model.safetensors")) == weights_digest(TENSORS)


class RunsCode:
    """Would write a file while being unpickled."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch '{self.sentinel}'",)


@pytest.mark.fault(14)
def test_code_in_an_old_checkpoint_does_not_run(tmp_path: Path) -> None:
    sentinel, path = tmp_path / "sentinel", tmp_path / "model.pt"
    torch.save({"state_dict": TENSORS, "x": RunsCode(sentinel)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(WeightsError, match=r"before 1\.6 and holds a Python object") as error:
        read_checkpoint(path)
    assert not sentinel.exists()
    assert "weights_only" not in str(error.value), "torch's advice to switch the protection off was passed on"
    torch.load(path, weights_only=False)
    assert sentinel.exists(), "the sentinel must be able to fire, or this test shows nothing"


def test_a_tar_file_is_never_unpickled(tmp_path: Path) -> None:
    sentinel, path = tmp_path / "sentinel", tmp_path / "model.pt"
    for name in ("storages", "tensors", "pickle"):
        (tmp_path / name).write_bytes(pickle.dumps(RunsCode(sentinel), 2))
    with tarfile.open(path, "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            archive.add(tmp_path / name, name)
    with pytest.raises(WeightsError, match="tar file"):
        read_checkpoint(path)
    assert not sentinel.exists()
    pickle.loads((tmp_path / "pickle").read_bytes())
    assert sentinel.exists(), "the sentinel must be able to fire, or this test shows nothing"


@pytest.mark.fault(14)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>not found</html>", "damaged"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:46\nsize 6\n", "damaged"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_named_with_a_cure(
    tmp_path: Path, suffix: str, content: bytes, problem: str
) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=f"{problem}.*copy or download it again"):
        read_checkpoint(path)


@pytest.mark.fault(14)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str, kept: float) -> None:
    path = tmp_path / f"model{suffix}"
    if suffix == ".pt":
        torch.save({"state_dict": TENSORS}, path)
    else:
        save_file(TENSORS, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(WeightsError, match="damaged"):
        read_checkpoint(path)


@pytest.mark.fault(14)
def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not exist"):
        read_checkpoint(tmp_path / "model.pt")
    with pytest.raises(WeightsError, match="is a folder; give a"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("content", ["zero_to_fp32.py", "latest", "checkpoint/mp_rank_00_model_states.pt"])
def test_a_deepspeed_folder_says_how_to_join_it(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "epoch=4-step=1000.ckpt"
    (folder / content).parent.mkdir(parents=True)
    (folder / content).touch()
    with pytest.raises(WeightsError, match=r"DeepSpeed folder.*python .*zero_to_fp32\.py .*model\.pt"):
        read_checkpoint(folder)


def test_a_backbone_registered_under_model_keeps_that_name(tmp_path: Path) -> None:
    content = {"backbone.a": torch.ones(1), "model.a": torch.ones(1), "act_head.b": torch.ones(1)}
    torch.save({"state_dict": content}, tmp_path / "plain.pt")
    torch.save(
        {"state_dict": {f"model.{key}": value for key, value in content.items()}}, tmp_path / "lightning.pt"
    )
    assert read_checkpoint(tmp_path / "plain.pt").keys() == content.keys()
    assert read_checkpoint(tmp_path / "lightning.pt").keys() == content.keys()


def test_a_name_with_and_without_prefix_is_refused(tmp_path: Path) -> None:
    content = {"model.act_head.a": torch.ones(1), "act_head.a": torch.zeros(1)}
    torch.save({"state_dict": content}, tmp_path / "model.pt")
    with pytest.raises(WeightsError, match=r"holds act_head\.a twice"):
        read_checkpoint(tmp_path / "model.pt")


def test_a_file_without_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "epoch": 1}, tmp_path / "model.pt")
    with pytest.raises(WeightsError, match="no 'state_dict'"):
        read_checkpoint(tmp_path / "model.pt")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_non_finite_weights_are_named(value: float, dtype: torch.dtype) -> None:
    bad = torch.ones(1000, dtype=dtype)
    bad[500] = value
    with pytest.raises(WeightsError, match="NaN or infinity in bad"):
        refuse_non_finite({"good": torch.ones(3), "bad": bad, "ids": torch.ones(2, dtype=torch.int64)}, "file")


def test_large_finite_weights_pass() -> None:
    refuse_non_finite({"large": torch.full((100,), 3e38)}, "file")


def test_the_digest_depends_on_names_values_and_types() -> None:
    digests = {
        weights_digest({"a": torch.ones(2)}),
        weights_digest({"b": torch.ones(2)}),
        weights_digest({"a": torch.zeros(2)}),
        weights_digest({"a": torch.ones(2, dtype=torch.bfloat16)}),
        weights_digest({"a": torch.ones(2, 1)}),
    }
    assert len(digests) == 5
