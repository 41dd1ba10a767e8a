"""CLIP's image encoder as a source of patch tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from robovlms_ros.model.errors import ObservationError
from robovlms_ros.model.local_folder import load_pretrained


class VisionTransformer(nn.Module):
    """Images -> the tokens of their patches, from CLIP's vision transformer, optionally resampled.

    The tokens are those of the last layer before its final norm and without the class token, as OpenFlamingo
    takes them. The state_dict has ``vision_encoder.*`` and ``perceiver.*``.

    Args:
        vision_encoder: a ``CLIPVisionModel`` of transformers.
        resampler: maps ``(..., V, D)`` to fewer tokens, such as `PerceiverResampler`; None to keep all.
    """

    def __init__(self, vision_encoder: nn.Module, resampler: nn.Module | None = None) -> None:
        super().__init__()
        self.vision_encoder: Any = vision_encoder
        self.perceiver = nn.Identity() if resampler is None else resampler

    @classmethod
    def from_folder(cls, folder: str | Path, resampler: nn.Module | None = None) -> VisionTransformer:
        """With the configuration and weights of a CLIP model (or its vision part) in a local folder.

        Raises `ConfigError` or `WeightsError` where the folder does not hold them.
        """
        return cls(load_pretrained("CLIPVisionModel", folder), resampler)

    @property
    def width(self) -> int:
        """Width ``D`` of the tokens."""
        return int(self.vision_encoder.config.hidden_size)

    @property
    def image_size(self) -> int:
        """Side ``S`` of the images, in pixels."""
        return int(self.vision_encoder.config.image_size)

    def forward(self, images: Tensor) -> Tensor:
        """Preprocessed images ``(..., 3, S, S)`` -> ``(..., V, D)``; leading dimensions count frames or cameras.

        Raises `ObservationError` where the images have another shape.
        """
        size = self.image_size
        if images.dim() < 4 or images.shape[-3:] != (3, size, size):
            raise ObservationError(
                f"images of shape {tuple(images.shape)} were given to an encoder for (..., 3, {size}, {size}); "
                "resize them first"
            )
        hidden = self.vision_encoder(pixel_values=images.flatten(0, -4)).last_hidden_state
        tokens: Tensor = self.perceiver(hidden[:, 1:].unflatten(0, images.shape[:-3]))
        return tokens
