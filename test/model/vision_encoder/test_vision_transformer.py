from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig, CLIPVisionModel

from robovlms_ros.model.errors import ConfigError, ObservationError, WeightsError
from robovlms_ros.model.vision_encoder.vision_resampler import PerceiverResampler
from robovlms_ros.model.vision_encoder.vision_transformer import VisionTransformer

SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION = SIZES | {"image_size": 28, "patch_size": 14, "projection_dim": 8}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    CLIPVisionModel(CLIPVisionConfig(**VISION)).save_pretrained(tmp_path)
    return tmp_path


@torch.no_grad()
def test_gives_the_patch_tokens_of_the_saved_encoder(folder: Path) -> None:
    encoder = VisionTransformer.from_folder(folder)
    images = torch.randn(2, 3, 3, 28, 28)
    tokens = encoder(images)
    assert tokens.shape == (2, 3, 4, encoder.width)
    reference = CLIPVisionModel.from_pretrained(folder).eval()
    expected = reference(pixel_values=images[1, 2:]).last_hidden_state[0, 1:]
    torch.testing.assert_close(tokens[1, 2], expected, atol=1e-6, rtol=0)


@torch.no_grad()
def test_a_whole_clip_folder_will_do(tmp_path: Path) -> None:
    text = SIZES | {"vocab_size": 30, "eos_token_id": 1, "bos_token_id": 0, "pad_token_id": 1}
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config=VISION, projection_dim=8)).eval()
    clip.save_pretrained(tmp_path)
    images = torch.randn(1, 3, 28, 28)
    expected = clip.vision_model(pixel_values=images).last_hidden_state[:, 1:]
    torch.testing.assert_close(VisionTransformer.from_folder(tmp_path)(images), expected, atol=1e-6, rtol=0)


@torch.no_grad()
def test_a_resampler_fixes_the_number_of_tokens(folder: Path) -> None:
    encoder = VisionTransformer.from_folder(folder, PerceiverResampler(16))
    assert encoder(torch.randn(2, 3, 3, 28, 28)).shape == (2, 3, 64, 16)


@pytest.mark.parametrize("shape", [(1, 3, 30, 28), (1, 1, 28, 28), (3, 28, 28)])
def test_images_of_another_shape_are_refused(folder: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ObservationError, match="28, 28"):
        VisionTransformer.from_folder(folder)(torch.zeros(shape))


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no config\.json"):
        VisionTransformer.from_folder(tmp_path / "nothing")


def test_a_folder_without_weights_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match="cannot be loaded as CLIPVisionModel"):
        VisionTransformer.from_folder(folder)


def test_missing_weights_are_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    lost = next(key for key in weights if "layers.1" in key)
    save_file({k: v for k, v in weights.items() if k != lost}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError, match="lacks 1 weights"):
        VisionTransformer.from_folder(folder)
