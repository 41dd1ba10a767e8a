"""``robovlms inspect`` on packed models and on configurations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import golden_cases
import pytest
import torch
from typer.testing import CliRunner

from robovlms_ros.cli.main import app
from robovlms_ros.model.errors import ConfigError, WeightsError
from robovlms_ros.policy.packing import Source, pack
from robovlms_ros.policy.untrained import make_untrained

PUBLISHED = golden_cases.config_path("kosmos_lstm")


def inspect(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["inspect", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def inspect_json(*arguments: object) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(inspect(*arguments, "--json"))
    return report


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    torch.save({"state_dict": golden_cases.state_dict("kosmos_lstm")}, tmp_path / "model.pt")
    source = Source(PUBLISHED, tmp_path / "model.pt")
    return pack(source, tmp_path / "packed", robot="google_robot", heads={"again": source})


def test_a_packed_model_is_described_for_programs(packed: Path) -> None:
    report = inspect_json(packed)
    model = report["model"]
    assert (model["backbone"], model["policy_head"], model["window"], model["chunk"]) == (
        *("RoboKosMos", "LSTMDecoder"),
        *(4, 3),
    )
    assert model["available_heads"] == ["LSTMDecoder", "again"]
    assert report["robot"]["name"] == "google_robot"
    assert report["robot"]["gripper"]["machine"] == "sticky"
    assert report["files"]["weights_verified"] is True
    assert report["files"]["weights"] == ["heads/again.safetensors", "model.safetensors"]
    parts = report["parameters"]
    assert parts["vision tower"] + parts["language model"] + parts["rest of the backbone"] == 254144
    assert (parts["act_head"], parts["action_token"], parts["total"]) == (1583893, 64, 1838101)
    assert inspect_json(packed, "--policy-head", "again")["model"]["policy_head"] == "again"


def test_a_packed_model_is_described_for_people(packed: Path) -> None:
    shown = inspect(packed)
    for text in ("RoboKosMos", "LSTMDecoder", "google_robot", "vision tower", "1,838,101", "sticky", "verified"):
        assert text in shown


def test_changed_weights_are_noticed(tmp_path: Path) -> None:
    folder = make_untrained(tmp_path / "model", image_size=28)
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="their digest differs"):
        inspect(folder)


def test_a_configuration_is_explained_key_by_key(tmp_path: Path) -> None:
    raw = json.loads(PUBLISHED.read_text())
    del raw["norm_action"], raw["robovlm_name"]
    raw |= {"colour": "red", "optimizer": "adam"}
    raw["act_head"]["window_size"] = 1
    (tmp_path / "config.json").write_text(json.dumps(raw))
    report = inspect_json(tmp_path / "config.json", "--vlm-dir", golden_cases.FOLDER)
    assert report["model"]["backbone"] == "RoboKosMos"
    assert report["backbone"]["can be built"] is True
    assert report["backbone"]["parameters"]["total"] == 1838101
    assert report["honoured"]["window_size"] == 4
    assert report["honoured"]["act_head.type"] == "LSTMDecoder"
    assert report["assumed"]["norm_action"] is True
    assert report["assumed"]["robovlm_name"] == "RoboKosMos"
    assert "AdamW" in report["dead"]["optimizer"]
    assert "top-level" in report["dead"]["act_head.window_size"]
    assert report["unknown"] == ["colour"]
    assert not {"optimizer", "colour", "act_head.window_size"} & report["honoured"].keys()
    shown = inspect(tmp_path / "config.json")
    assert "colour" in shown


def test_a_configuration_whose_backbone_is_not_here_or_cannot_be_had_says_why(tmp_path: Path) -> None:
    raw = json.loads(PUBLISHED.read_text())
    (tmp_path / "config.json").write_text(json.dumps(raw))
    report = inspect_json(tmp_path / "config.json")
    assert report["backbone"]["can be built"] is True
    assert report["backbone"]["folder"] is None
    assert "vlm_dir" in report["backbone"]["reason"]
    (tmp_path / "config.json").write_text(json.dumps(raw | {"robovlm_name": "RoboMoonDream"}))
    report = inspect_json(tmp_path / "config.json")
    assert report["backbone"]["can be built"] is False
    assert "RoboSmolVLM" in report["backbone"]["reason"]


def test_a_configuration_that_is_not_valid_names_the_key(tmp_path: Path) -> None:
    raw = json.loads(PUBLISHED.read_text()) | {"window_size": "many"}
    (tmp_path / "config.json").write_text(json.dumps(raw))
    with pytest.raises(ConfigError, match="key 'window_size'"):
        inspect(tmp_path / "config.json")
