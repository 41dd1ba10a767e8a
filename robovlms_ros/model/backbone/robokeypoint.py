"""A backbone of our own, for a laptop: see `robovlms_ros.model.backbone.keypoint_vlm`."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.backbone.keypoint_vlm import KeypointModel
from robovlms_ros.model.config import RoboVLMConfig
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.model.head_config import checked_head
from robovlms_ros.model.sequence import MaskedTokens, MergedSequence

STATE_SCALE = 10.0


class RoboKeypoint(BaseRoboVLM):
    """Places in the image as tokens, and a small Llama. Trained from nothing (``load_vl_param: false``)."""

    backbone_class = "KeypointModel"
    model_type = "robovlms_keypoint"
    text_tower_path = "language_model"
    vision_tower_path = "vision_tower"
    word_embedding_path = "language_model.embed_tokens"
    image_mean = image_std = (0.5, 0.5, 0.5)

    def __init__(self, config: RoboVLMConfig, backbone: KeypointModel, tokenizer: Any) -> None:
        super().__init__(config, backbone, tokenizer)
        if config.state_encoder is not None:
            # On a table positions are tenths of a metre; they should count as much as the rest from the start.
            self.embed_arm_state.weight.data.mul_(STATE_SCALE)

    @classmethod
    def check_config(cls, config: RoboVLMConfig) -> None:
        """See `VisionLanguageModel.check_config`."""
        if checked_head(config).history_type == "video" or config.use_vision_resampler:
            raise ConfigError("RoboKeypoint takes no video history or resampler; choose others")

    @classmethod
    def build_backbone(cls, backbone_config: Any) -> KeypointModel:
        """See `VisionLanguageModel.build_backbone`; transformers has no such class."""
        return KeypointModel(backbone_config)

    def image_features(self, pixels: Tensor) -> Tensor:
        """``(b, 3, S, S)`` -> its rows of pixels ``(b, 3 * S, S)``: what is looked for depends on the text."""
        return pixels.flatten(1, 2)

    def arrange(
        self,
        images: Tensor,
        text: Tensor,
        text_mask: Tensor | None = None,
        history: MaskedTokens | None = None,
        state: MaskedTokens | None = None,
        prompt: Tensor | None = None,
    ) -> MergedSequence:
        """See `BaseRoboVLM.arrange`; the images are rows of pixels, those of the static camera last."""
        pixels = images.view(len(images), -1, 3, self.config.image_size, self.config.image_size)
        tokens = self.backbone.look(pixels, text, text_mask if prompt is None else prompt)
        sequence = super().arrange(tokens, text, text_mask, history, state)
        if self.discrete:
            return sequence
        # ACT begins with what is seen and felt: attention that knows nothing yet would need long to find it.
        seen = tokens.sum(dim=1, keepdim=True) + (0 if state is None else state.tokens)
        sequence.embeddings[:, sequence.action] += seen
        return sequence
