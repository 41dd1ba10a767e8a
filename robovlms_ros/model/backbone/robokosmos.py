"""Kosmos-2, the backbone of the published checkpoints."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.config import RoboVLMConfig
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.model.text_template import TEMPLATES


class RoboKosMos(BaseRoboVLM):
    """Kosmos-2: CLIP ViT-L/14, a projection to 64 tokens per image, and a Magneto language model."""

    backbone_class = "Kosmos2ForConditionalGeneration"
    model_type = "kosmos-2"

    @classmethod
    def adapt_backbone_config(cls, backbone_config: Any, config: RoboVLMConfig) -> None:
        """Size the table of sinusoidal positions for the longest sequence: it is costly to grow at run time."""
        if backbone_config.vision_config.image_size != config.image_size:
            raise ConfigError(
                f"image_size is {config.image_size}, but the backbone takes images of "
                f"{backbone_config.vision_config.image_size}; set image_size to that"
            )
        text = backbone_config.text_config
        history = config.act_encoder.window if config.act_encoder else 0
        latent = config.act_head.latent if config.act_head else 0
        longest = 2 * backbone_config.latent_query_num + TEMPLATES["kosmos"].max_tokens + history + latent
        text.max_position_embeddings = max(text.max_position_embeddings, longest)

    @property
    def hidden_size(self) -> int:
        """Width of the language model's tokens."""
        return int(self.backbone.config.text_config.embed_dim)

    @property
    def text_tower(self) -> nn.Module:
        """The language model without its output layer."""
        tower: nn.Module = self.backbone.text_model.model
        return tower

    @property
    def vision_tower(self) -> nn.Module:
        """The image encoder."""
        tower: nn.Module = self.backbone.vision_model
        return tower

    @property
    def word_embedding(self) -> nn.Embedding:
        """The embedding of text tokens."""
        embedding: nn.Embedding = self.backbone.text_model.model.embed_tokens
        return embedding

    def image_features(self, pixels: Tensor) -> Tensor:
        """``(b, 3, S, S)`` -> ``(b, 64, D)``."""
        patches = self.backbone.vision_model(pixels).last_hidden_state
        patches = functional.normalize(self.backbone.vision_model.model.post_layernorm(patches), dim=-1)
        tokens: Tensor = self.backbone.image_to_text_projection(patches)[0]
        return tokens
