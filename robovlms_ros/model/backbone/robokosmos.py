"""Kosmos-2, the backbone of the published checkpoints."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.config import RoboVLMConfig
from robovlms_ros.model.sequence import longest_sequence


class RoboKosMos(BaseRoboVLM):
    """Kosmos-2: CLIP ViT-L/14, a projection to 64 tokens per image, and a Magneto language model."""

    backbone_class = "Kosmos2ForConditionalGeneration"
    model_type = "kosmos-2"
    text_tower_path = "text_model.model"
    vision_tower_path = "vision_model.model"
    word_embedding_path = "text_model.model.embed_tokens"

    @classmethod
    def adapt_backbone_config(cls, backbone_config: Any, config: RoboVLMConfig) -> None:
        """Size the table of sinusoidal positions up front: growing it at run time costs more than a step."""
        text = backbone_config.text_config
        longest = longest_sequence(config, backbone_config.latent_query_num)
        text.max_position_embeddings = max(text.max_position_embeddings, longest)

    def patch_features(self, pixels: Tensor) -> Tensor:
        """``(b, 3, S, S)`` -> ``(b, 257, 1024)``: the class token and all patches, normalised over channels."""
        patches = self.vision_tower(pixels).last_hidden_state
        return functional.normalize(self.vision_tower.post_layernorm(patches), dim=-1)

    def project(self, patches: Tensor) -> Tensor:
        """``(b, 257, 1024)`` -> ``(b, 64, D)``: what the latent queries read of the patches."""
        tokens: Tensor = self.backbone.image_to_text_projection(patches)[0]
        return tokens
