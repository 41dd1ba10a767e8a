"""Camera images to what a vision tower takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from robovlms_ros.model.errors import ObservationError

Mode = Literal["fast", "exact"]


class ImagePreprocessor:
    """Resizes to a square (bicubic, antialiased, aspect ratio not kept) and normalises per channel.

    ``exact`` is the reference: Pillow's resize. ``fast`` resizes the uint8 image in torch and scales it in one
    step; before normalisation its pixels differ by at most 1/255 (on pure noise, one in 100 000 by 2/255).
    Both resize on the CPU, so that a quarter of the bytes goes to the GPU.

    Args:
        size: side of the square in pixels.
        mean: per channel, for values in [0, 1].
        std: per channel, for values in [0, 1].
        mode: ``fast`` or ``exact``.
        device: where the result goes.
        dtype: type of the result.
    """

    def __init__(
        self,
        size: int,
        mean: Sequence[float],
        std: Sequence[float],
        mode: Mode = "fast",
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._size = size
        self.mode = mode
        self._exact = mode == "exact"
        self._device, self._dtype = device, dtype
        self._mean = torch.tensor(mean, device=device).view(3, 1, 1)
        self._std = torch.tensor(std, device=device).view(3, 1, 1)
        # (x / 255 - mean) / std as one multiply-add.
        self._scale = 1 / (255 * self._std)
        self._shift = -self._mean / self._std

    def __call__(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """RGB images ``(H, W, 3)`` uint8, of any sizes -> ``(len(images), 3, size, size)``.

        Raises `ObservationError` where an image is something else.
        """
        return self.normalize(self.resize(images))

    def resize(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """The first half: ``(len(images), 3, size, size)`` uint8, on the CPU. Raises as calling it does."""
        resize = self._resize_exact if self._exact else self._resize_fast
        return torch.cat([resize(_checked(image)) for image in images])

    def normalize(self, resized: Tensor) -> Tensor:
        """The second half: ``(..., 3, size, size)`` uint8 -> the same shape in the model's type, on its device."""
        pixels = resized.to(self._device).float()
        if self._exact:
            normalised = (pixels / 255 - self._mean) / self._std
        else:
            normalised = torch.addcmul(self._shift, pixels, self._scale)
        return normalised.to(self._dtype)

    def _resize_exact(self, image: NDArray[np.uint8]) -> Tensor:
        # Rows first, then columns, as all Pillow versions did that upstream was used with: Pillow 13 takes the
        # cheaper order, and rounding between the two makes portrait images differ by up to 20 grey levels.
        rows = Image.fromarray(image).resize((self._size, image.shape[0]), Image.Resampling.BICUBIC)
        resized = rows.resize((self._size, self._size), Image.Resampling.BICUBIC)
        return torch.from_numpy(np.array(resized)).permute(2, 0, 1).unsqueeze(0)

    def _resize_fast(self, image: NDArray[np.uint8]) -> Tensor:
        pixels = torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0)
        if image.shape[:2] == (self._size, self._size):
            return pixels
        return functional.interpolate(pixels, size=(self._size, self._size), mode="bicubic", antialias=True)


def _checked(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        shape = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ObservationError(f"an image must be an (H, W, 3) uint8 RGB array, got {shape}; convert it first")
    if 0 in image.shape:
        raise ObservationError(f"an image of shape {image.shape} has no pixels; drop this frame")
    # Torch warns about read-only memory, and message buffers are read-only.
    return np.require(image, requirements=["C", "W"])
