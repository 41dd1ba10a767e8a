"""PaliGemma: SigLIP and Gemma."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.config import RoboVLMConfig


class RoboPaligemma(BaseRoboVLM):
    """PaliGemma 1 and 2: SigLIP, one linear layer, Gemma.

    As upstream runs it: attention is causal over the images and the prompt too (PaliGemma itself lets these see
    each other), and the whole merged sequence, ACT included, is scaled by ``sqrt(D)``. Upstream held the backbone
    in bfloat16 while it loaded a checkpoint, so its numbers are those of rounded weights.
    """

    backbone_class = "PaliGemmaForConditionalGeneration"
    model_type = "paligemma"
    text_tower_path = "model.language_model"
    vision_tower_path = "model.vision_tower"
    word_embedding_path = "model.language_model.embed_tokens"
    image_mean = image_std = (0.5, 0.5, 0.5)
    old_names: ClassVar = {
        "language_model.model.": "model.language_model.",
        "language_model.lm_head.": "lm_head.",
        "vision_tower.vision_model.": "model.vision_tower.",
        "multi_modal_projector.": "model.multi_modal_projector.",
    }
    old_dtype = torch.bfloat16

    @classmethod
    def adapt_backbone_config(cls, backbone_config: Any, config: RoboVLMConfig) -> None:
        """Causal attention everywhere."""
        backbone_config.text_config.use_bidirectional_attention = False

    def project(self, patches: Tensor) -> Tensor:
        """See `VisionLanguageModel.project`; divided by the ``sqrt(D)`` that the whole sequence gets."""
        tokens = self.backbone.model.multi_modal_projector(patches)
        scaled: Tensor = tokens / self.hidden_size**0.5
        return scaled

    def embed_text(self, ids: Tensor) -> Tensor:
        """``(B, T)`` -> ``(B, T, D)``, past the scaling that transformers 5 has put into the embedding."""
        return functional.embedding(ids, self.word_embedding.weight)

    def language_model(self, embeddings: Tensor, mask: Tensor | None, cache: Any = None) -> Tensor:
        """See `BaseRoboVLM.language_model`; Gemma expects embeddings of length ``sqrt(D)``."""
        return super().language_model(embeddings * self.word_embedding.embed_scale, mask, cache)

    def word_scores(self, hidden: Tensor) -> Tensor:
        """See `BaseRoboVLM.word_scores`; Gemma 2, the text model of PaliGemma 2, bounds them."""
        scores = super().word_scores(hidden)
        bound = getattr(self.text_tower.config, "final_logit_softcapping", None)
        return scores if bound is None else torch.tanh(scores / bound) * bound
