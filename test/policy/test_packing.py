"""Writing packed folders: in parts, in other types, over an old one, and never half."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import golden_cases
import numpy as np
import pytest
import torch

from robovlms_ros.model.errors import ConfigError, ModelError, ProfileError, WeightsError
from robovlms_ros.policy import Observation, VLAPolicy
from robovlms_ros.policy.packed_model import open_packed
from robovlms_ros.policy.packing import Source, pack

CONFIG = golden_cases.config_path("kosmos_lstm")


def action(policy: VLAPolicy) -> np.ndarray:
    look = Observation({"static": golden_cases.arrays("wrappers")["static"][0]}, "pick up the red block")
    return policy.session().step(look).actions


def contents(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_large_model_is_split_and_stays_the_same(golden_checkpoint: Path, tmp_path: Path) -> None:
    source = Source(CONFIG, golden_checkpoint)
    whole = pack(source, tmp_path / "whole")
    split = pack(source, tmp_path / "split", heads={"again": source}, size_limit=4_000_000)
    assert "model.safetensors" in contents(whole)
    assert "model.safetensors.index.json" in contents(split)
    parts = [path.stat().st_size for path in split.glob("model-*.safetensors")]
    assert len(parts) > 2
    assert max(parts) < 4_000_000
    first, second = VLAPolicy.load(whole), VLAPolicy.load(split)
    # The same weights; where they lie in memory decides, on some processors, in which order numbers are added.
    np.testing.assert_allclose(action(first), action(second), rtol=0, atol=1e-6)
    assert first.card["weights_sha256"] == second.card["weights_sha256"]
    np.testing.assert_allclose(
        action(VLAPolicy.load(split, policy_head="again")), action(first), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_rounds_the_weights_and_loads_in_any_type(tmp_path: Path, dtype: str) -> None:
    # The golden weights are whole numbers times powers of two: half precision would hold them exactly.
    weights = {key: tensor * 1.001 for key, tensor in golden_cases.state_dict("kosmos_lstm").items()}
    torch.save({"state_dict": weights}, tmp_path / "model.pt")
    out = pack(Source(CONFIG, tmp_path / "model.pt"), tmp_path / "half", golden_cases.FOLDER, dtype=dtype)
    tensors = open_packed(out).tensors()
    assert {str(tensor.dtype) for tensor in tensors.values()} == {f"torch.{dtype}"}
    full = VLAPolicy.from_upstream(CONFIG, tmp_path / "model.pt")
    difference = action(VLAPolicy.load(out))[:, :6] - action(full)[:, :6]
    assert 0 < np.abs(difference).max() < 0.05
    assert VLAPolicy.load(out, dtype=dtype).card["dtype"] == dtype


def test_a_number_too_large_for_half_precision_is_named(tmp_path: Path) -> None:
    weights = golden_cases.state_dict("kosmos_lstm")
    weights["model.act_head.rnn.weight_ih_l0"][0, 0] = 1e6
    torch.save({"state_dict": weights}, tmp_path / "model.pt")
    with pytest.raises(WeightsError, match=r"act_head\.rnn\.weight_ih_l0.*use .*bfloat16"):
        pack(Source(CONFIG, tmp_path / "model.pt"), tmp_path / "out", dtype="float16")
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_a_checkpoint_with_a_training_frameworks_objects_is_packed(
    golden_checkpoint: Path, tmp_path: Path
) -> None:
    content = torch.load(golden_checkpoint) | {"hyper_parameters": Namespace(lr=1e-4)}
    torch.save(content, tmp_path / "lightning.pt")
    out = pack(Source(CONFIG, tmp_path / "lightning.pt"), tmp_path / "out")
    plain = VLAPolicy.from_upstream(CONFIG, golden_checkpoint)
    assert VLAPolicy.load(out).card["model_id"] == plain.card["model_id"]


@pytest.mark.parametrize("change", [{"use_mu_law": True}, {"norm_max": 0.5}, {"action_scale": 2.0}])
def test_a_head_with_another_action_space_is_refused(
    golden_checkpoint: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    config = tmp_path / "head.json"
    config.write_text(json.dumps(json.loads(CONFIG.read_text()) | change))
    heads = {"other": Source(config, golden_checkpoint)}
    with pytest.raises(ConfigError, match=f"{next(iter(change))} differs"):
        pack(Source(CONFIG, golden_checkpoint), tmp_path / "out", heads=heads)


def test_progress_counts_every_byte_once(golden_checkpoint: Path, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    source = Source(CONFIG, golden_checkpoint)
    pack(source, tmp_path / "out", heads={"again": source}, progress=lambda *step: steps.append(step))
    done, totals = zip(*steps, strict=True)
    assert list(done) == sorted(done)
    assert set(totals) == {done[-1]}


def test_an_old_model_is_replaced_only_on_demand(golden_checkpoint: Path, tmp_path: Path) -> None:
    source, out = Source(CONFIG, golden_checkpoint), tmp_path / "model"
    pack(source, out, robot="calvin")
    with pytest.raises(ModelError, match="--force"):
        pack(source, out, robot="google_robot")
    assert VLAPolicy.load(out).profile.name == "calvin"
    pack(source, out, robot="google_robot", force=True)
    assert VLAPolicy.load(out).profile.name == "google_robot"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_failed_replacement_leaves_the_old_model(golden_checkpoint: Path, tmp_path: Path) -> None:
    out = pack(Source(CONFIG, golden_checkpoint), tmp_path / "model")
    weights = golden_cases.state_dict("kosmos_lstm")
    weights["model.action_token"][0] = float("nan")
    torch.save({"state_dict": weights}, tmp_path / "broken.pt")
    with pytest.raises(WeightsError, match="NaN"):
        pack(Source(CONFIG, tmp_path / "broken.pt"), out, force=True)
    VLAPolicy.load(out)
    assert {path.name for path in tmp_path.iterdir()} == {"model", "broken.pt"}


def test_a_folder_that_is_no_model_is_never_replaced(golden_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ModelError, match="no packed model"):
        pack(Source(CONFIG, golden_checkpoint), tmp_path, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_place_that_cannot_be_written_is_named(golden_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="cannot be written"):
        pack(Source(CONFIG, golden_checkpoint), tmp_path / "file" / "model")


def test_a_profile_that_does_not_fit_the_model_is_refused_here_and_not_on_the_robot(
    golden_checkpoint: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(json.loads(CONFIG.read_text()) | {"tcp_rel": True}))
    with pytest.raises(ProfileError, match="tcp_rel"):
        pack(Source(config, golden_checkpoint), tmp_path / "out", golden_cases.FOLDER)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
