"""Packing and opening: nothing lost, nothing half written, heads by name."""

from __future__ import annotations

import json
import shutil
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


def look() -> Observation:
    return Observation({"static": golden_cases.arrays("wrappers")["static"][0]}, "pick up the red block")


def other_head(folder: Path, change_backbone: bool = False) -> Source:
    """The golden model with a shorter chunk and other head weights."""
    folder.mkdir()
    weights = golden_cases.state_dict("kosmos_lstm")
    for key in ("actions", "gripper"):
        for kind in ("weight", "bias"):
            name = f"model.act_head.{key}.mlp.6.{kind}"
            weights[name] = -weights[name][: weights[name].shape[0] // 3]
    if change_backbone:
        weights["model.backbone.image_to_text_projection.dense.bias"] += 1
    torch.save({"state_dict": weights}, folder / "head.pt")
    config = json.loads(CONFIG.read_text()) | {"fwd_pred_next_n": 1, "window_size": 2}
    (folder / "head.json").write_text(json.dumps(config))
    return Source(folder / "head.json", folder / "head.pt")


@pytest.fixture
def packed(golden_checkpoint: Path, tmp_path: Path) -> Path:
    heads = {"short": other_head(tmp_path / "short")}
    out = tmp_path / "packed"
    return pack(Source(CONFIG, golden_checkpoint), out, golden_cases.FOLDER, "widowx_bridge", heads=heads)


def test_a_packed_model_gives_the_same_actions_and_identity(packed: Path, golden_checkpoint: Path) -> None:
    upstream = VLAPolicy.from_upstream(CONFIG, golden_checkpoint, robot="widowx_bridge")
    policy = VLAPolicy.load(packed)
    # The same weights; where they lie in memory decides, on some processors, in which order numbers are added.
    actions, expected = policy.session().step(look()).actions, upstream.session().step(look()).actions
    np.testing.assert_allclose(actions, expected, rtol=0, atol=1e-6)
    assert policy.card["model_id"] == upstream.card["model_id"]
    assert policy.profile.name == "widowx_bridge"


def test_a_packed_folder_is_complete_and_can_be_moved(packed: Path, tmp_path: Path) -> None:
    names = {path.relative_to(packed).as_posix() for path in packed.rglob("*") if path.is_file()}
    assert {"config.json", "model.safetensors", "heads/short.safetensors", "robot.yaml", "MODEL_CARD.md"} <= names
    assert {"vlm/config.json", "vlm/tokenizer.json"} <= names
    assert not [name for name in names if name.endswith((".pt", ".bin"))]
    moved = tmp_path / "elsewhere"
    shutil.move(packed, moved)
    VLAPolicy.load(moved)


def test_a_policy_head_is_picked_by_name(packed: Path) -> None:
    own, short = VLAPolicy.load(packed), VLAPolicy.load(packed, policy_head="short")
    assert own.card["available_heads"] == short.card["available_heads"] == ["LSTMDecoder", "short"]
    assert (short.card["policy_head"], short.card["chunk"], short.card["window"]) == ("short", 1, 2)
    own_chunk, short_chunk = own.session().step(look()), short.session().step(look())
    # Same backbone and LSTM, last layers negated: tanh turns that into the opposite pose.
    np.testing.assert_allclose(short_chunk.normalized[:, :6], -own_chunk.normalized[:1, :6], atol=1e-6)
    assert own.card["weights_sha256"] != short.card["weights_sha256"]
    assert VLAPolicy.load(packed, policy_head="LSTMDecoder").card == own.card


@pytest.mark.fault(14)
def test_an_unknown_policy_head_lists_those_there_are(packed: Path) -> None:
    with pytest.raises(ConfigError, match="no policy head 'none'; it has LSTMDecoder, short"):
        VLAPolicy.load(packed, policy_head="none")


def test_a_head_trained_on_another_backbone_is_refused(golden_checkpoint: Path, tmp_path: Path) -> None:
    heads = {"other": other_head(tmp_path / "other", change_backbone=True)}
    with pytest.raises(WeightsError, match="trained on other backbone weights"):
        pack(Source(CONFIG, golden_checkpoint), tmp_path / "packed", golden_cases.FOLDER, heads=heads)
    assert not (tmp_path / "packed").exists()


def test_half_precision_halves_the_file(golden_checkpoint: Path, tmp_path: Path) -> None:
    sizes = {}
    for dtype in ("float32", "bfloat16"):
        out = pack(Source(CONFIG, golden_checkpoint), tmp_path / dtype, golden_cases.FOLDER, dtype=dtype)
        sizes[dtype] = (out / "model.safetensors").stat().st_size
        assert VLAPolicy.load(out, dtype=dtype).card["dtype"] == dtype
    assert sizes["bfloat16"] < 0.55 * sizes["float32"]


def test_an_existing_folder_is_not_touched(golden_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ModelError, match="exists already"):
        pack(Source(CONFIG, golden_checkpoint), tmp_path, golden_cases.FOLDER)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_failed_pack_leaves_nothing(golden_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ProfileError):
        pack(Source(CONFIG, golden_checkpoint), tmp_path / "out", golden_cases.FOLDER, robot="none")
    with pytest.raises(WeightsError):
        pack(Source(CONFIG, tmp_path / "none.pt"), tmp_path / "out", golden_cases.FOLDER)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_packed_model_is_refused(tmp_path: Path, packed: Path) -> None:
    with pytest.raises(ModelError, match="is not a folder"):
        open_packed(tmp_path / "none")
    with pytest.raises(ModelError, match=r"has no model\.safetensors, robot\.yaml"):
        open_packed(packed / "vlm")
    content = json.loads((packed / "config.json").read_text())
    del content["packed"]
    (packed / "config.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="no section 'packed'"):
        open_packed(packed)


@pytest.mark.parametrize("name", ["model.safetensors", "robot.yaml", "config.json", "vlm/tokenizer.json"])
def test_a_damaged_part_is_a_clear_error(packed: Path, name: str) -> None:
    path = packed / name
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ModelError, match=str(path.parent)):
        VLAPolicy.load(packed)


def test_nothing_is_downloaded_unless_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="is not a folder"):
        VLAPolicy.load("some/model")
