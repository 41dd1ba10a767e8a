from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_clip import write_clip

from robovlms_ros.model.errors import ConfigError
from robovlms_ros.model.text_encoder.clip_text_encoder import ClipNormHead, ClipTextEncoder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_clip(tmp_path)


def test_features_have_length_one(folder: Path) -> None:
    encoder = ClipTextEncoder.from_folder(folder)
    features = encoder(["push", "pull a cup"])
    assert features.shape == (2, encoder.width) == (2, 8)
    torch.testing.assert_close(features.norm(dim=-1), torch.ones(2))


def test_padding_does_not_change_a_feature(folder: Path) -> None:
    encoder = ClipTextEncoder.from_folder(folder)
    torch.testing.assert_close(encoder(["up", "open a box"])[0], encoder(["up"])[0], atol=1e-6, rtol=0)


def test_a_text_too_long_for_clip_is_cut_off(folder: Path) -> None:
    encoder = ClipTextEncoder.from_folder(folder)
    torch.testing.assert_close(encoder(["a" * 40]), encoder(["a" * 30]))


def test_the_encoder_is_never_trained(folder: Path) -> None:
    encoder = ClipTextEncoder.from_folder(folder)
    encoder.train()
    assert not any(module.training for module in encoder.modules())
    assert not encoder(["up"]).requires_grad
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_a_folder_without_a_tokenizer_is_refused(folder: Path) -> None:
    for file in folder.glob("*token*"):
        file.unlink()
    with pytest.raises(ConfigError, match="no usable tokenizer"):
        ClipTextEncoder.from_folder(folder)


@torch.no_grad()
def test_the_loss_is_zero_where_the_projected_maximum_is_the_feature() -> None:
    head = ClipNormHead(8, 8)
    torch.nn.init.eye_(head.lang_fc.weight)
    torch.nn.init.zeros_(head.lang_fc.bias)
    features = torch.nn.functional.normalize(torch.randn(2, 8), dim=-1)
    lower = features - torch.rand(2, 8)
    tokens = torch.stack([lower, features], dim=1).unsqueeze(1).expand(2, 3, 2, 8)
    assert head(tokens, features) == 0
    assert head(tokens + 0.5, features) == pytest.approx(0.125)
    assert head(tokens + 3, features) == pytest.approx(2.5)


def test_upstreams_copy_of_clip_is_accepted_and_dropped() -> None:
    head = ClipNormHead(4, 8)
    stored = head.state_dict() | {"model.text_projection": torch.zeros(8, 8), "model.visual.proj": torch.zeros(2)}
    head.load_state_dict(stored, strict=True)
    assert head.state_dict().keys() == {"lang_fc.weight", "lang_fc.bias"}
