"""Reading configurations: upstream's schema, its gaps, and clear complaints."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import golden_cases
import pytest

from robovlms_ros.model.config_reader import merge, parse_config, read_config
from robovlms_ros.model.errors import ConfigError


def published(**changes: Any) -> dict[str, Any]:
    raw: dict[str, Any] = json.loads(golden_cases.config_path("kosmos_lstm").read_text())
    return raw | changes


def test_an_upstream_configuration_is_read_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    config = read_config(golden_cases.config_path("kosmos_lstm"))
    assert (config.robovlm_name, config.window_size, config.fwd_pred_next_n) == ("RoboKosMos", 4, 3)
    assert config.act_head is not None
    assert config.act_head.type == "LSTMDecoder"
    assert caplog.records == []


def test_unknown_keys_are_listed_in_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    raw = published(windowsize=3)
    raw["act_head"]["hiddensize"] = 4
    parse_config(raw, "model.json")
    assert len(caplog.records) == 1
    assert "windowsize, act_head.hiddensize" in caplog.text or "act_head.hiddensize, windowsize" in caplog.text


@pytest.mark.parametrize("key", ["model", "window_size", "fwd_pred_next_n", "act_head"])
def test_a_missing_key_is_named(key: str) -> None:
    raw = published()
    del raw[key]
    with pytest.raises(ConfigError, match=f"key '{key}' is missing"):
        parse_config(raw)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"window_size": "16"}, "window_size"),
        ({"window_size": 0}, "window_size"),
        ({"window_size": True}, "window_size"),
        ({"use_hand_rgb": 1}, "use_hand_rgb"),
        ({"vlm": {"pretrained_model_name_or_path": None}}, "vlm.pretrained_model_name_or_path"),
        ({"act_head": {"type": "LSTMDecoder", "hidden_size": 12.5}}, "act_head.hidden_size"),
        ({"act_head": {"type": "LSTMDecoder", "history_type": "later"}}, "act_head.history_type"),
    ],
)
def test_a_wrong_value_is_named_by_its_path(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError, match=f"key '{path}' is .*correct that value"):
        parse_config(published(**changes))


def test_early_published_files_get_the_published_defaults(caplog: pytest.LogCaptureFixture) -> None:
    raw = published()
    for key in ("robovlm_name", "vlm", "norm_action", "norm_min", "norm_max", "val_dataset", "train_dataset"):
        del raw[key]
    config = parse_config(raw)
    assert (config.robovlm_name, config.vlm.pretrained_model_name_or_path) == ("RoboKosMos", "vlm/kosmos2_tiny")
    assert (config.norm_action, config.norm_min, config.norm_max) == (True, -0.65, 0.65)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_switched_off_normalisation_stays_off() -> None:
    assert not parse_config(published(norm_action=False)).norm_action


def test_a_parent_is_read_first_and_the_child_wins(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "parent.json").write_text(json.dumps(published(window_size=16, seed=5)))
    child = tmp_path / "child.json"
    child.write_text(json.dumps({"parent": "base/parent.json", "window_size": 8, "act_head": {"hidden_size": 32}}))
    config = read_config(child)
    assert (config.window_size, config.seed) == (8, 5)
    assert config.act_head is not None
    assert (config.act_head.hidden_size, config.act_head.type) == (32, "LSTMDecoder")


def test_a_configuration_that_is_its_own_parent_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"parent": "a.json"}))
    with pytest.raises(ConfigError, match="its own parent"):
        read_config(path)


def test_override_replaces_a_section_instead_of_merging() -> None:
    base = {"a": {"x": 1, "y": {"z": 2}}, "b": 3}
    assert merge(base, {"a": {"x": 5}}) == {"a": {"x": 5, "y": {"z": 2}}, "b": 3}
    assert merge(base, {"a": {"__override__": True, "x": 5}}) == {"a": {"x": 5}, "b": 3}
    assert base == {"a": {"x": 1, "y": {"z": 2}}, "b": 3}


@pytest.mark.parametrize(
    ("content", "problem"), [("{", "not valid JSON"), ("[1]", "must be an object"), ("\xff", "not valid JSON")]
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / "model.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError, match=problem):
        read_config(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        read_config(tmp_path / "none.json")
    with pytest.raises(ConfigError, match="is a folder"):
        read_config(tmp_path)


def test_the_shipped_configurations_are_valid(caplog: pytest.LogCaptureFixture) -> None:
    folder = Path(__file__).parents[2] / "config" / "models"
    configs = {path.stem: read_config(path) for path in folder.glob("*.json")}
    assert configs["kosmos_ph"].act_encoder is None
    assert configs["kosmos_ph_history"].act_encoder is not None
    assert caplog.records == []
