"""Flamingo: images stand beside the text and are looked at through gated cross-attention."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.config import RoboVLMConfig
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.model.flamingo_builder import FLAMINGO_MODEL_CONFIGS, build_llm_flamingo, check_available
from robovlms_ros.model.sequence import MergedSequence

_IMAGES_FLAT = tuple(map(int, version("transformers").split(".")[:2])) >= (5, 24)


class RoboFlamingo(BaseRoboVLM):
    """Flamingo on transformers' Idefics: CLIP, a perceiver, and LLaMA with gated cross-attention.

    Every token of the text sees the images of all cameras. As upstream's, it pools over the text
    (``down_sample``); unlike there, ``continuous`` with an ACT token works too.
    """

    backbone_class = "IdeficsForVisionText2Text"
    model_type = "idefics"
    text_tower_path = "model"
    vision_tower_path = "model.vision_model"
    word_embedding_path = "model.embed_tokens"

    @classmethod
    def check_config(cls, config: RoboVLMConfig) -> None:
        """Refuse upstream's language models that cannot be had, and what needs image tokens in the sequence."""
        name, head = config.vlm.name, config.act_head
        if name is not None and name in FLAMINGO_MODEL_CONFIGS:
            check_available(name)
        if head is not None and (head.action_space == "discrete" or head.history_type == "pre"):
            raise ConfigError(
                "RoboFlamingo runs neither discrete models nor history_type 'pre'; set act_head.action_space to "
                "'down_sample' or 'continuous' and act_head.history_type to 'post' or 'video'"
            )
        if config.use_vision_resampler or (head is not None and head.token_source == "vision"):
            raise ConfigError(
                "RoboFlamingo has a perceiver of its own and no image tokens in the sequence; set "
                "use_vision_resampler to false and act_head.token_source to 'all' or 'text'"
            )

    @classmethod
    def build_backbone(cls, backbone_config: Any) -> Any:
        """See `build_llm_flamingo`."""
        return build_llm_flamingo(backbone_config)

    def project(self, patches: Tensor) -> Tensor:
        """See `VisionLanguageModel.project`; the tokens are as wide as the vision tower."""
        tokens: Tensor = self.text_tower.perceiver_resampler(patches)
        return tokens

    def arrange(self, images: Tensor, text: Tensor, *args: Any, **kwargs: Any) -> MergedSequence:
        """See `BaseRoboVLM.arrange`; the images ``(B, V, Dv)`` stay out of the sequence."""
        return super().arrange(text[:, :0], text, *args, **kwargs)._replace(beside=images)

    def attend(self, sequence: MergedSequence) -> Tensor:
        """See `BaseRoboVLM.attend`; the images of all cameras are one long image to Idefics."""
        embeddings, images = sequence.embeddings, sequence.beside
        assert images is not None  # from arrange()
        # Every window has one image; before transformers 5.24 Idefics wanted a dimension for that.
        perceived = images if _IMAGES_FLAT else images.unsqueeze(1)
        output = self.text_tower(
            inputs_embeds=embeddings,
            attention_mask=sequence.mask,
            # From the mask Idefics would count positions by itself, leaving out what is hidden.
            position_ids=torch.arange(embeddings.shape[1], device=embeddings.device).unsqueeze(0),
            perceiver_embeddings=perceived,
            image_attention_mask=embeddings.new_ones(*embeddings.shape[:2], 1),
            use_cache=False,
        )
        hidden: Tensor = output.last_hidden_state
        return hidden
