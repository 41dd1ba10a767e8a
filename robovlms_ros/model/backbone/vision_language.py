"""The pretrained part of a vision-language-action model: an image encoder and a language model."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Mapping
from functools import cache as remembered
from inspect import signature
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from robovlms_ros.model.config import RoboVLMConfig
from robovlms_ros.model.transformers_classes import transformers_class


class VisionLanguageModel(nn.Module, ABC):
    """Where the parts of a transformers model are, and how they are called. See `BaseRoboVLM`."""

    backbone_class: ClassVar[str]
    """Name of the class in transformers."""
    model_type: ClassVar[str]
    """``model_type`` in the backbone's own ``config.json``."""
    text_tower_path: ClassVar[str]
    """Where in the backbone the language model without its output layer is."""
    vision_tower_path: ClassVar[str]
    """Where the image encoder is."""
    word_embedding_path: ClassVar[str]
    """Where the embedding of text tokens is."""
    # The constants of CLIP's preprocessing, which most backbones use.
    image_mean: ClassVar[tuple[float, float, float]] = (0.48145466, 0.4578275, 0.40821073)
    image_std: ClassVar[tuple[float, float, float]] = (0.26862954, 0.26130258, 0.27577711)
    old_names: ClassVar[Mapping[str, str]] = {}
    """Prefixes of tensor names in the backbone before transformers 5, and what they have become."""
    old_dtype: ClassVar[torch.dtype | None] = None
    """Type in which upstream held the backbone while it loaded a checkpoint, where that rounds the weights."""
    advice: ClassVar[Mapping[str, str]] = {}
    """What to do instead, by the ``model_type`` of a folder that one could take for the right one."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone: Any = backbone

    @classmethod
    def check_config(cls, config: RoboVLMConfig) -> None:
        """Raise `ConfigError` where ``config`` asks for what cannot be had; no file has been read yet."""

    @classmethod
    def adapt_backbone_config(cls, backbone_config: Any, config: RoboVLMConfig) -> None:
        """Adjust the backbone's own configuration in place before the backbone is built."""

    @classmethod
    def build_backbone(cls, backbone_config: Any) -> Any:
        """The network that ``backbone_config`` describes, on the current device, with weights still to come."""
        return transformers_class(cls.backbone_class)(backbone_config)

    @property
    def hidden_size(self) -> int:
        """Width ``D`` of the language model's tokens."""
        return int(self.word_embedding.weight.shape[1])

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.word_embedding.weight.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        dtype: torch.dtype = self.word_embedding.weight.dtype
        return dtype

    @property
    def text_tower(self) -> Any:
        """The language model without its output layer: embeddings in, hidden states after the final norm out."""
        return self.backbone.get_submodule(self.text_tower_path)

    @property
    def vision_tower(self) -> Any:
        """The image encoder."""
        return self.backbone.get_submodule(self.vision_tower_path)

    @property
    def word_embedding(self) -> Any:
        """The embedding of text tokens."""
        return self.backbone.get_submodule(self.word_embedding_path)

    def image_features(self, pixels: Tensor) -> Tensor:
        """Preprocessed images ``(b, 3, S, S)`` -> image tokens ``(b, V, D)``, projector included.

        A subclass says how: with `project`, or with all of this where its parts cannot be told apart.
        """
        return self.project(self.patch_features(pixels))

    @classmethod
    def has_projector(cls) -> bool:
        """Whether `image_features` is `patch_features`, then `project`."""
        return cls.image_features is VisionLanguageModel.image_features

    def patch_features(self, pixels: Tensor) -> Tensor:
        """What the image encoder alone makes of ``(b, 3, S, S)``: ``(b, patches, Dv)``."""
        patches: Tensor = self.vision_tower(pixels).last_hidden_state
        return patches

    def project(self, patches: Tensor) -> Tensor:
        """``(b, patches, Dv)`` -> image tokens ``(b, V, D)``."""
        raise NotImplementedError(f"{type(self).__name__} overrides neither project() nor image_features()")

    def embed_text(self, ids: Tensor) -> Tensor:
        """``(B, T)`` -> ``(B, T, D)``, without any scaling of the backbone's own."""
        embedded: Tensor = self.word_embedding(ids)
        return embedded

    def language_model(self, embeddings: Tensor, mask: Tensor | None, cache: Any = None) -> Tensor:
        """Causal attention over ``(B, n, D)`` -> hidden states after the final norm, ``(B, n, D)``.

        With a transformers ``cache``, the sequence goes on from what is in it, and is added to it. The ``mask``
        ``(B, m)`` is then that of the whole sequence so far.
        """
        past = {} if cache is None else {_cache_argument(type(self.text_tower).forward): cache}
        output = self.text_tower(inputs_embeds=embeddings, attention_mask=mask, use_cache=bool(past), **past)
        hidden: Tensor = output.last_hidden_state
        return hidden

    def word_scores(self, hidden: Tensor) -> Tensor:
        """Hidden states ``(..., D)`` -> a score for each token of the vocabulary."""
        scores: Tensor = self.backbone.get_output_embeddings()(hidden)
        return scores


@remembered
def _cache_argument(forward: Callable[..., Any]) -> str:
    """What a language model calls its cache; transformers 5.24 renamed it in its own models."""
    return "cache" if "cache" in signature(forward).parameters else "past_key_values"
