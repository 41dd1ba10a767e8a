"""A pretrained vision-language model is found and loaded as its configuration says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_backbones
import torch

from robovlms_ros.model.errors import ConfigError
from robovlms_ros.model.registry import backbone_class, policy_head_class
from robovlms_ros.model.transformers_classes import read_backbone_config, transformers_class
from robovlms_ros.model.vlm_builder import build_vlm, weight_dtype


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the weights of a tiny SmolVLM, as `save_pretrained` leaves it."""
    folder = tmp_path_factory.mktemp("pretrained")
    model = tiny_backbones.make_model("smolvlm")
    model.backbone.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return folder


def build(folder: Path | str, vlm: dict[str, Any] | None = None, **settings: Any) -> tuple[Any, Any]:
    path = {"pretrained_model_name_or_path": str(folder)}
    return build_vlm(path | (vlm or {}), path, **settings)


@pytest.mark.parametrize("kind", ["AutoModelForVision2Seq", "AutoModel", "SmolVLMForConditionalGeneration"])
def test_a_type_of_upstreams_means_the_whole_model(pretrained: Path, kind: str) -> None:
    tokenizer, model = build(pretrained, {"type": kind})
    expected = tiny_backbones.make_model("smolvlm").backbone
    assert type(model) is type(expected)
    for name, tensor in expected.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], tensor, rtol=0, atol=0)
    assert tokenizer("pick up")["input_ids"]


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        *((name, torch.float32) for name in ("32", 32, "16", "16-mixed")),
        ("bf16", torch.bfloat16),
        ("fp16", torch.float16),
    ],
)
def test_precision_is_honoured(pretrained: Path, precision: str | int, dtype: torch.dtype) -> None:
    assert weight_dtype(precision) == dtype
    _, model = build(pretrained, precision=precision)
    assert {weight.dtype for weight in model.parameters()} == {dtype}


def test_apples_gpu_gets_float32() -> None:
    assert weight_dtype("bf16", "mps") == weight_dtype("fp16", "mps:0") == torch.float32


def test_an_unknown_precision_lists_those_that_there_are(pretrained: Path) -> None:
    with pytest.raises(ConfigError, match="'64'; choose one of 32, "):
        build(pretrained, precision="64")


def test_the_model_is_moved_to_the_device_once_it_is_loaded(pretrained: Path) -> None:
    _, model = build(pretrained, device="meta")
    assert {weight.device.type for weight in model.parameters()} == {"meta"}


def test_nothing_is_downloaded_unless_allowed() -> None:
    with pytest.raises(ConfigError, match="downloading is off"):
        build("microsoft/kosmos-2-patch14-224")


@pytest.mark.parametrize("section", [{"type": 3}, {"pretrained_model_name_or_path": None}])
def test_a_wrong_section_is_named(pretrained: Path, section: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="section 'vlm'"):
        build(pretrained, section)


def test_code_that_lies_beside_a_model_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text("raise SystemExit('this ran')")
    (tmp_path / "config.json").write_text(
        '{"model_type": "mosaic_gpt", "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}}'
    )
    with pytest.raises(ConfigError, match="is never run here"):
        build(tmp_path)
    with pytest.raises(ConfigError, match="is never run here"):
        read_backbone_config(tmp_path)


def test_a_class_that_transformers_lacks_is_named(pretrained: Path) -> None:
    with pytest.raises(ConfigError, match="has no KosmosForEverything"):
        build(pretrained, {"type": "KosmosForEverything"})


def test_an_unknown_backbone_or_head_lists_what_exists() -> None:
    with pytest.raises(ConfigError, match=r"'RoboKosmos'.*RoboFlamingo.*RoboKosMos.*RoboSmolVLM"):
        backbone_class("RoboKosmos")
    with pytest.raises(ConfigError, match=r"'LSTM'.*DiscreteDecoder.*LSTMDecoder"):
        policy_head_class("LSTM")


def test_a_torchvision_that_breaks_transformers_is_named_with_the_cure(tmp_path: Path) -> None:
    package, metadata = tmp_path / "torchvision", tmp_path / "torchvision-0.99.0.dist-info"
    package.mkdir()
    metadata.mkdir()
    # What the build for another torch does.
    (package / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.99.0\n")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from robovlms_ros.model.config_reader import parse_config
from robovlms_ros.model.errors import ModelError
from robovlms_ros.model.vlm_builder import build_model
from pathlib import Path
config = parse_config({tiny_backbones.raw_config("smolvlm")!r})
try:
    build_model(config, Path({str(tiny_backbones.folder("smolvlm"))!r}))
except ModelError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "torchvision::nms does not exist" in done.stdout
    assert "torchvision 0.99.0 does not work beside torch 2" in done.stdout
    assert "pip uninstall torchvision" in done.stdout


def test_without_torchvision_every_class_is_there() -> None:
    assert transformers_class("Kosmos2ForConditionalGeneration").__name__ == "Kosmos2ForConditionalGeneration"
