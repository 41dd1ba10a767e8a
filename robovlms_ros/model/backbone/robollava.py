"""LLaVA: CLIP, a projector, and any text model that transformers' Llava classes take."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.config import RoboVLMConfig


class RoboLLaVA(BaseRoboVLM):
    """LLaVA 1.5 and its kin, with a Llama, Mistral, Qwen2 or MPT text model.

    Upstream runs it on the ``llava`` package, of which it needs an unpublished fork; here it is transformers'
    Llava, whose checkpoints (``llava-hf/...``) hold the same networks.
    """

    backbone_class = "LlavaForConditionalGeneration"
    model_type = "llava"
    text_tower_path = "model.language_model"
    vision_tower_path = "model.vision_tower"
    advice: ClassVar = {
        name: "this is the folder of the original llava package; use one in transformers' format (llava-hf/... on "
        "the Hugging Face Hub), or convert it with transformers' convert_llava_weights_to_hf.py"
        for name in ("llava_llama", "llava_mistral", "llava_mpt")
    }

    @classmethod
    def adapt_backbone_config(cls, backbone_config: Any, config: RoboVLMConfig) -> None:
        """MPT ties its output layer to its embedding; transformers' Llava cannot, as it goes by Llama's names."""
        if backbone_config.text_config.model_type == "mpt":
            backbone_config.tie_word_embeddings = False

    @property
    def word_embedding(self) -> Any:
        """The embedding of text tokens, which has another name in every text model."""
        return self.text_tower.get_input_embeddings()

    def image_features(self, pixels: Tensor) -> Tensor:
        """``(b, 3, S, S)`` -> ``(b, V, D)``: the layers and patches that the backbone's configuration chooses."""
        return torch.stack(list(self.backbone.get_image_features(pixels).pooler_output))
