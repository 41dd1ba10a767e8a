"""Image augmentation for training."""

from __future__ import annotations

import torch
from torch import Tensor


def shift_images(images: Tensor, offsets: Tensor, pad: int) -> Tensor:
    """Move images by whole pixels; what comes in at the border repeats the border.

    Equals padding by ``pad`` pixels and cutting the original size out at ``offsets``, which is what upstream's
    resampling at pixel centres amounts to.

    Args:
        images: ``(n, channels, height, width)``, any type.
        offsets: ``(n, 2)`` whole numbers in [0, 2 * pad]: where the cut begins, x then y; ``pad`` moves nothing.
        pad: largest shift in pixels.
    """
    count, _, height, width = images.shape
    x, y = (offsets.to(images.device, torch.int64) - pad).unbind(dim=-1)
    columns = (torch.arange(width, device=images.device) + x[:, None]).clamp(0, width - 1)
    rows = (torch.arange(height, device=images.device) + y[:, None]).clamp(0, height - 1)
    number = torch.arange(count, device=images.device)[:, None, None]
    # Indexing with a slice between index arrays puts the channels last.
    return images[number, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


class RandomShift:
    """Shifts every image by a random number of pixels (DrQ's augmentation, Kostrikov et al. 2020).

    Args:
        pad: largest shift in pixels; upstream uses 10 for the static and 4 for the hand camera.
        smallest: lowest offset to draw: 0, or 1 as upstream does for the frames of one trajectory.
        generator: source of the randomness; the global one where None.
    """

    def __init__(self, pad: int, smallest: int = 0, generator: torch.Generator | None = None) -> None:
        self.pad = pad
        self.smallest = smallest
        self.generator = generator

    def __call__(self, images: Tensor) -> Tensor:
        """``(..., channels, height, width)`` -> the same shape, each image with a shift of its own."""
        flat = images.reshape(-1, *images.shape[-3:])
        offsets = torch.randint(self.smallest, 2 * self.pad + 1, (len(flat), 2), generator=self.generator)
        return shift_images(flat, offsets, self.pad).reshape(images.shape)
