"""Image preprocessing: exact as upstream's, fast within one grey level."""

from __future__ import annotations

import golden_cases
import numpy as np
import pytest
import torch
from PIL import Image

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.errors import ObservationError
from robovlms_ros.policy.preprocess import ImagePreprocessor, Mode

WRAPPERS = golden_cases.arrays("wrappers")
MEAN, STD = BaseRoboVLM.image_mean, BaseRoboVLM.image_std


def make(mode: Mode, size: int = 28) -> ImagePreprocessor:
    return ImagePreprocessor(size, MEAN, STD, mode)


def grey_levels(pixels: torch.Tensor) -> torch.Tensor:
    return (pixels * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)) * 255


@pytest.mark.parametrize(("camera", "vector"), [("static", "image_x"), ("gripper", "gripper_x")])
def test_exact_matches_upstream(camera: str, vector: str) -> None:
    pixels = make("exact")([WRAPPERS[camera][0]])
    np.testing.assert_allclose(pixels, WRAPPERS[f"calvin_lstm__{vector}"][0], rtol=0, atol=1e-6)


def difference(image: np.ndarray, size: int) -> torch.Tensor:
    return (grey_levels(make("fast", size)([image])) - grey_levels(make("exact", size)([image]))).abs()


@pytest.mark.parametrize("shape", [(480, 640), (640, 480), (240, 320), (720, 1280), (600, 400), (224, 224)])
@pytest.mark.parametrize("size", [28, 224])
def test_fast_stays_within_one_grey_level_of_exact(shape: tuple[int, int], size: int) -> None:
    # Waves with sharp edges, every frequency up to the pixel grid.
    y, x = np.mgrid[: shape[0], : shape[1]]
    waves = np.sin(x * x / shape[1] * 3)[..., None] * np.cos(y[..., None] * np.array([0.01, 0.1, 1.0]))
    image = np.where(waves > 0.2, 255, waves * 90 + 128).clip(0, 255).astype(np.uint8)
    assert difference(image, size).max() <= 1.001


@pytest.mark.parametrize("shape", [(480, 640), (64, 64), (1, 1), (3, 999), (100, 30), (267, 447)])
@pytest.mark.parametrize("size", [28, 224])
def test_even_on_noise_of_odd_sizes_two_levels_are_rare_and_the_most(shape: tuple[int, int], size: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    levels = difference(noise, size)
    assert levels.max() <= 2.001
    assert (levels > 1.001).float().mean() < 1e-3


def test_exact_resizes_rows_before_columns_whatever_pillow_prefers() -> None:
    image = np.random.default_rng(0).integers(0, 256, (343, 147, 3), dtype=np.uint8)
    rows = Image.fromarray(image).resize((28, 343), Image.Resampling.BICUBIC)
    expected = np.asarray(rows.resize((28, 28), Image.Resampling.BICUBIC))
    actual = grey_levels(make("exact")([image]))[0].permute(1, 2, 0)
    np.testing.assert_allclose(actual, expected, atol=1e-3)


@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_images_of_two_sizes_make_one_batch(mode: Mode) -> None:
    together = make(mode)([WRAPPERS["gripper"][0], WRAPPERS["static"][0]])
    assert together.shape == (2, 3, 28, 28)
    torch.testing.assert_close(together[1:], make(mode)([WRAPPERS["static"][0]]))


@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_views_and_read_only_images_are_taken_and_left_alone(mode: Mode, recwarn: pytest.WarningsRecorder) -> None:
    image = WRAPPERS["static"][0].copy()
    image.setflags(write=False)
    flipped = image[:, ::-1]
    torch.testing.assert_close(make(mode)([flipped]), make(mode)([flipped.copy()]))
    make(mode)([image])
    np.testing.assert_array_equal(image, WRAPPERS["static"][0])
    assert list(recwarn) == []


@pytest.mark.parametrize("mode", ["fast", "exact"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 640), (641, 1), (479, 641), (13, 7)])
def test_an_image_of_any_size_is_taken(mode: Mode, shape: tuple[int, int]) -> None:
    pixels = make(mode)([np.full((*shape, 3), 90, dtype=np.uint8)])
    assert pixels.shape == (1, 3, 28, 28)
    torch.testing.assert_close(grey_levels(pixels), torch.full((1, 3, 28, 28), 90.0), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        (np.zeros((4, 4), np.uint8), r"uint8 \(4, 4\); convert it"),
        (np.zeros((4, 4, 1), np.uint8), r"\(4, 4, 1\); convert it"),
        (np.zeros((4, 4, 4), np.uint8), r"\(4, 4, 4\); convert it"),
        (np.zeros((3, 4, 4), np.uint8), r"\(3, 4, 4\); convert it"),
        (np.zeros((4, 4, 3), np.float32), "float32"),
        (np.zeros((4, 4, 3), np.uint16), "uint16"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
        ([[[0, 0, 0]]], "got list"),
    ],
)
@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_what_is_no_rgb_image_is_refused(mode: Mode, image: np.ndarray, problem: str) -> None:
    with pytest.raises(ObservationError, match=problem):
        make(mode)([image])
