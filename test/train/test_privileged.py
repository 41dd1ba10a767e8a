"""An auxiliary loss on numbers that lie beside the dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_backbones
import torch

from robovlms_ros.model.errors import ConfigError
from robovlms_ros.train.auxiliary import auxiliary_class
from robovlms_ros.train.batch import Batch
from robovlms_ros.train.privileged import PrivilegedPrediction

SCALES = {"target": [0.1, 2.0], "base": [1.0]}


def write(path: Path, names: list[str], lengths: list[int], first: float = 0.0, **changes: Any) -> Path:
    rows = sum(lengths)
    arrays = {
        "identifiers": np.array(names),
        "starts": np.cumsum([0, *lengths]),
        "target": first + np.arange(2.0 * rows).reshape(rows, 2),
        "base": np.full((rows, 1), np.nan),
    }
    np.savez(path, **(arrays | changes))
    return path


def head_of(*files: Path, **options: Any) -> PrivilegedPrediction:
    model = tiny_backbones.make_model("keypoint")
    made = auxiliary_class("privileged").build(model, files=[str(f) for f in files], scales=SCALES, **options)
    assert isinstance(made, PrivilegedPrediction)
    return made


def batch(identifiers: list[str], steps: list[list[int]]) -> Batch:
    nothing: Any = None
    parts = dict.fromkeys(Batch._fields, nothing)
    return Batch(**(parts | {"identifiers": identifiers, "steps": torch.tensor(steps)}))


def test_the_loss_is_the_scaled_error_over_what_is_known(tmp_path: Path) -> None:
    first = write(tmp_path / "a.npz", ["pick-1", "pick-2"], [2, 3])
    base = np.full((2, 1), np.nan)
    base[1] = 5.0
    second = write(tmp_path / "b.npz", ["stack-1"], [2], first=100.0, base=base)
    head = head_of(first, second)
    torch.nn.init.zeros_(head.numbers[2].weight)
    torch.nn.init.zeros_(head.numbers[2].bias)
    asked = batch(["both/pick-2", "both/stack-1"], [[0, 2], [0, 1]])
    loss = head(torch.randn(2, 2, 1, 32), asked)
    # Rows 2 and 4 of the first file, 0 and 1 of the second; one base is known.
    wanted = np.array([[4, 5], [8, 9], [100, 101], [102, 103]]) / np.array([0.1, 2.0])
    assert loss.item() == pytest.approx(((wanted**2).sum() + 25.0) / 9, rel=1e-5)


def test_its_weights_and_the_features_learn(tmp_path: Path) -> None:
    head = head_of(write(tmp_path / "a.npz", ["pick-1"], [4]))
    features = torch.randn(1, 3, 2, 32, requires_grad=True)
    head(features, batch(["x/pick-1"], [[0, 1, 2]])).backward()
    assert features.grad is not None
    assert features.grad.abs().sum() > 0
    # Of numbers that are never known nothing is learned.
    assert not head.numbers[2].weight.grad[2].any()
    assert head.numbers[2].weight.grad[:2].any()
    assert not any("rows" in name for name in head.state_dict())


def test_an_episode_that_no_file_has_is_named(tmp_path: Path) -> None:
    head = head_of(write(tmp_path / "a.npz", ["pick-1"], [4]))
    with pytest.raises(ConfigError, match=r"no file has episode both/pick-7"):
        head(torch.randn(1, 1, 1, 32), batch(["both/pick-7"], [[0]]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": np.zeros((4, 3))}, r"target of .*a\.npz has the shape \[4, 3\]"),
        ({"starts": np.array([0, 9])}, r"a\.npz is damaged"),
        ({"identifiers": np.array([{}], object)}, r"a\.npz cannot be read"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        head_of(write(tmp_path / "a.npz", ["pick-1"], [4], **changes))


def test_options_are_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="takes the options files"):
        auxiliary_class("privileged").build(tiny_backbones.make_model("keypoint"))
    with pytest.raises(ConfigError, match=r"and no .'weight'"):
        head_of(write(tmp_path / "a.npz", ["pick-1"], [4]), weight=1)
    with pytest.raises(ConfigError, match=r"b\.npz cannot be read"):
        head_of(tmp_path / "b.npz")
