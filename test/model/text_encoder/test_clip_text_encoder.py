from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

from robovlms_ros.model.errors import ConfigError
from robovlms_ros.model.text_encoder.clip_text_encoder import ClipNormHead, ClipTextEncoder

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    words = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    tokenizer = CLIPTokenizer(vocab={word: number for number, word in enumerate(words)}, merges=[])
    tokenizer.save_pretrained(tmp_path)
    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=32,
        projection_dim=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=12,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    CLIPTextModelWithProjection(config).save_pretrained(tmp_path)
    return tmp_path


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
