"""The guide's code works as it stands there: a new backbone from a plugin folder, checked as the guide says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import tiny_backbones
import torch

from robovlms_ros.model import plugins
from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.config_reader import parse_config
from robovlms_ros.model.registry import backbone_class
from robovlms_ros.model.vlm_builder import build_model

GUIDE = Path(__file__).parents[2] / "docs" / "adding-a-backbone.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def plugin_manager(monkeypatch: pytest.MonkeyPatch) -> plugins.PluginManager:
    monkeypatch.setattr(plugins, "PLUGINS", plugins.PluginManager())
    return plugins.PLUGINS


def tiny_internvl(folder: Path, config: dict[str, Any]) -> BaseRoboVLM:
    """The guide's configuration with a small backbone and small images."""
    text = next(backbone["text_config"] for _, model, backbone in tiny_backbones.TINY.values() if model == "llava")
    vision = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    backbone = {
        "model_type": "internvl",
        "image_token_id": tiny_backbones.IMAGE,
        "text_config": text | {"model_type": "qwen2", "dtype": "float32"},
        "vision_config": vision | {"image_size": [28, 28], "patch_size": [7, 7]},
    }
    for file in tiny_backbones.folder("llava-llama").glob("tokenizer*.json"):
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "config.json").write_text(json.dumps(backbone))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = build_model(parse_config(config | {"image_size": 28}), folder, device="cpu")
        for weight in model.backbone.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.15)
    return model


def test_the_guides_backbone_equals_the_model_that_it_is_made_of(
    tmp_path: Path, plugin_manager: plugins.PluginManager
) -> None:
    backbone, check = blocks("python")
    (config,) = map(json.loads, blocks("json"))
    plugin, vlm = tmp_path / "plugins", tmp_path / "vlm"
    plugin.mkdir()
    vlm.mkdir()
    (plugin / "robo_internvl.py").write_text(backbone)
    assert plugin_manager.load_folder(plugin) == {}
    model = tiny_internvl(vlm, config)
    assert type(model) is backbone_class("RoboInternVL")
    namespace: dict[str, Any] = {}
    exec(check, namespace)
    namespace["check"](model, image_token=tiny_backbones.IMAGE, word=tiny_backbones.ACT)
    blind = torch.zeros(1, 4, model.hidden_size)
    model.image_features = lambda pixels: blind  # type: ignore[method-assign]
    with pytest.raises(AssertionError):
        namespace["check"](model, image_token=tiny_backbones.IMAGE, word=tiny_backbones.ACT)


def test_the_guides_backbone_takes_at_most_thirty_lines() -> None:
    backbone, _ = blocks("python")
    assert len([line for line in backbone.splitlines() if line.strip()]) <= 30


def test_the_guide_names_what_there_is() -> None:
    root = GUIDE.parents[1]
    text = GUIDE.read_text(encoding="utf-8")
    for path in re.findall(r"`((?:robovlms_ros|test|config)/[\w/.]+)`", text):
        assert (root / path).exists(), path
    table = text.split("What a backbone may need")[1].split("Images reach")[0]
    for row in table.splitlines()[4:-1]:
        _, _, methods, examples, _ = row.split("|")
        for example in re.findall(r"`(\w+)`", examples):
            for method in re.findall(r"`(\w+)`", methods):
                assert hasattr(BaseRoboVLM, method), method
            assert any(method in vars(backbone_class(example)) for method in re.findall(r"`(\w+)`", methods))
