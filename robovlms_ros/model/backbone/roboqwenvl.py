"""Qwen2.5-VL: a vision tower for images of any size, here of one fixed size, and Qwen2.5."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.config import RoboVLMConfig
from robovlms_ros.model.errors import ConfigError


class RoboQwenVL(BaseRoboVLM):
    """Qwen2.5-VL. Each image stands between its start and end token, as with upstream's Qwen-VL.

    Its tower takes any grid of patches; ``image_size`` fixes it. Positions run along the merged sequence, the same
    in all three axes of the rotary embedding, as wherever Qwen2.5-VL is given embeddings without token ids.
    """

    backbone_class = "Qwen2_5_VLForConditionalGeneration"
    model_type = "qwen2_5_vl"
    text_tower_path = "model.language_model"
    vision_tower_path = "model.visual"
    word_embedding_path = "model.language_model.embed_tokens"

    @classmethod
    def adapt_backbone_config(cls, backbone_config: Any, config: RoboVLMConfig) -> None:
        """Refuse an image size that is no whole number of tokens."""
        side = backbone_config.vision_config.patch_size * backbone_config.vision_config.spatial_merge_size
        if config.image_size % side:
            raise ConfigError(f"image_size is {config.image_size}; Qwen2.5-VL needs a multiple of {side}")

    def image_features(self, pixels: Tensor) -> Tensor:
        """``(b, 3, S, S)`` -> ``(b, (S / 28)², D)``."""
        vision, (b, _, size, _) = self.vision_tower.config, pixels.shape
        patch, merge = vision.patch_size, vision.spatial_merge_size
        grid = size // patch
        # The patches of one token stand together; an image is a film in which nothing moves.
        split = pixels.view(b, 3, grid // merge, merge, patch, grid // merge, merge, patch)
        patches = split.permute(0, 2, 5, 3, 6, 1, 4, 7).unsqueeze(-3)
        film = patches.expand(*patches.shape[:-3], vision.temporal_patch_size, patch, patch)
        grids = torch.tensor([[1, grid, grid]] * b, device=pixels.device)
        tokens: Tensor = self.vision_tower(film.reshape(b * grid * grid, -1), grid_thw=grids).pooler_output
        return tokens.view(b, -1, tokens.shape[-1])

    def image_tokens(self, features: Tensor) -> Tensor:
        """See `BaseRoboVLM.image_tokens`; two more tokens, which mark where an image starts and ends."""
        tokens, ids = super().image_tokens(features), self.backbone.config
        marks = torch.tensor([ids.vision_start_token_id, ids.vision_end_token_id], device=tokens.device)
        start, end = self.embed_text(marks).expand(*tokens.shape[:2], 2, -1).chunk(2, dim=2)
        return torch.cat([start, tokens, end], dim=2)
