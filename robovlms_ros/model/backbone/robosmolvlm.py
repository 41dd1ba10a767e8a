"""SmolVLM and Idefics3: SigLIP, pixel shuffle, and a Llama text model."""

from __future__ import annotations

from torch import Tensor

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM


class RoboSmolVLM(BaseRoboVLM):
    """SmolVLM2. An image is resized to the tower's own size and not split into tiles: 64 or 81 tokens each."""

    backbone_class = "SmolVLMForConditionalGeneration"
    model_type = "smolvlm"
    text_tower_path = "model.text_model"
    vision_tower_path = "model.vision_model"
    word_embedding_path = "model.text_model.embed_tokens"
    image_mean = image_std = (0.5, 0.5, 0.5)

    def project(self, patches: Tensor) -> Tensor:
        """See `VisionLanguageModel.project`; the connector folds neighbouring patches into one token."""
        tokens: Tensor = self.backbone.model.connector(patches)
        return tokens


class RoboIdefics3(RoboSmolVLM):
    """Idefics3, and the first generation of SmolVLM, which is published under its name."""

    backbone_class = "Idefics3ForConditionalGeneration"
    model_type = "idefics3"
