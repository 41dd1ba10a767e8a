"""A vision-language-action model: what all backbones share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from robovlms_ros.model.action_encoder.linear_encoder import ActionLinearEncoder
from robovlms_ros.model.config import ActHeadConfig, RoboVLMConfig
from robovlms_ros.model.errors import ConfigError, ObservationError
from robovlms_ros.model.policy_head.base_policy import ActionOutput
from robovlms_ros.model.registry import policy_head_class
from robovlms_ros.model.sequence import HistoryTokens, merge
from robovlms_ros.model.text_template import DEFAULT_TEMPLATE, TEMPLATES
from robovlms_ros.model.transformers_classes import transformers_class


class BaseRoboVLM(nn.Module, ABC):
    """Images and an instruction go through a language model; a policy head reads its answer at the ACT token.

    A subclass says where its parts are and how images become tokens. The state_dict has upstream's keys:
    ``backbone.*``, ``act_head.*`` and ``action_token``; ``act_encoder.*`` where the configuration asks for it.

    Args:
        config: the model's configuration.
        backbone: the transformers model, on any device (the meta device included).
        tokenizer: its tokenizer.
    """

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

    def __init__(self, config: RoboVLMConfig, backbone: nn.Module, tokenizer: Any) -> None:
        super().__init__()
        head = _supported_head(config)
        self.config = config
        self.backbone: Any = backbone
        self.tokenizer = tokenizer
        self.text_template = TEMPLATES.get(config.model, DEFAULT_TEMPLATE)
        # Upstream goes by what the tokenizer has, not by what it puts into the text.
        self.bos = int(tokenizer.bos_token is not None)
        self.eos = int(tokenizer.eos_token is not None)
        self.act_head = policy_head_class(head.type)(config, self.hidden_size)
        self.action_token = nn.Parameter(torch.zeros(self.hidden_size))
        self.act_encoder: ActionLinearEncoder | None = None
        if config.act_encoder is not None:
            gripper_dim = config.act_encoder.gripper_dim
            self.act_encoder = ActionLinearEncoder(head.action_dim - gripper_dim, gripper_dim, self.hidden_size)

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
        return int(self.word_embedding.embedding_dim)

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

    @abstractmethod
    def image_features(self, pixels: Tensor) -> Tensor:
        """Preprocessed images ``(b, 3, S, S)`` -> image tokens ``(b, V, D)``, projector included."""

    def encode_images(self, pixels: Tensor) -> Tensor:
        """``(B, T, 3, S, S)`` -> ``(B, T, V, D)`` in one call of the image encoder; T counts frames or cameras."""
        tokens = self.image_features(pixels.flatten(0, 1))
        return tokens.view(*pixels.shape[:2], *tokens.shape[1:])

    def encode_text(self, instruction: str) -> Tensor:
        """Token ids ``(1, T)`` of the prompt for one instruction.

        Raises `ObservationError` where the instruction is empty, holds one of `special_tokens`, or is too long.
        """
        if not instruction.strip():
            raise ObservationError("the instruction is empty; say in a few words what the robot should do")
        special = next((token for token in self.special_tokens if token in instruction), None)
        if special is not None:
            raise ObservationError(f"the instruction holds {special!r}, a control token; leave it out")
        template = self.text_template
        prompt = template.fill(instruction, self.tokenizer.eos_token)
        ids = self.tokenizer(prompt, add_special_tokens=template.add_special_tokens)["input_ids"]
        if len(ids) > template.max_tokens:
            raise ObservationError(
                f"the instruction has {len(ids)} tokens, the model reads at most {template.max_tokens}; shorten it"
            )
        return torch.tensor([ids], device=self.action_token.device)

    def embed_text(self, ids: Tensor) -> Tensor:
        """``(B, T)`` -> ``(B, T, D)``, without any scaling of the backbone's own."""
        embedded: Tensor = self.word_embedding(ids)
        return embedded

    @property
    def special_tokens(self) -> list[str]:
        """Strings that the tokenizer takes for control tokens and that an instruction therefore must not hold."""
        return sorted({*self.tokenizer.all_special_tokens, *self.tokenizer.get_added_vocab()})

    def language_model(self, embeddings: Tensor, mask: Tensor | None) -> Tensor:
        """Causal attention over ``(B, n, D)`` -> hidden states after the final norm, ``(B, n, D)``."""
        output = self.text_tower(inputs_embeds=embeddings, attention_mask=mask, use_cache=False)
        hidden: Tensor = output.last_hidden_state
        return hidden

    def encode_history(self, actions: Tensor, valid: Tensor) -> HistoryTokens:
        """Previous actions ``(B, H, action_dim)``, normalised, with their validity ``(B, H)``, as tokens.

        Every row becomes one token. A row that is not valid keeps its place, so that the others do not shift,
        and is hidden from attention.
        """
        if self.act_encoder is None:
            raise ConfigError(
                "this model has no action encoder; train one with 'act_encoder' in its configuration"
            )
        return HistoryTokens(self.act_encoder(actions), valid)

    def fuse(self, images: Tensor, text: Tensor, history: HistoryTokens | None = None) -> Tensor:
        """What the policy head reads at one control step: the hidden states at the ACT tokens, ``(1, latent, D)``.

        Nothing behind ACT is computed: attention is causal, so it could not change the answer.

        Args:
            images: image tokens ``(1, cameras, V, D)``, the hand camera first.
            text: embedded prompt ``(1, T, D)``, without padding.
            history: encoded previous actions, for a model with an action encoder.
        """
        text = text[:, : text.shape[1] - self.eos]
        merged = merge(
            *(text, images.flatten(1, 2), self._action_tokens()),
            bos=self.bos,
            eos=0,
            history=history,
            hide_action=self._head_config.fill_zero,
        )
        return self.language_model(merged.embeddings, merged.mask)[:, merged.action]

    def forward(
        self,
        static: Tensor,
        ids: Tensor,
        text_mask: Tensor,
        hand: Tensor | None = None,
        history: tuple[Tensor, Tensor] | None = None,
    ) -> ActionOutput:
        """A batch of windows, for training: a chunk for every step of every window, ``(B, W, N, ...)``.

        Args:
            static: images ``(B, W, 3, S, S)`` of the static camera, preprocessed.
            ids: prompts ``(B, T)``, padded on the right.
            text_mask: ``(B, T)``, False on padding.
            hand: images of the hand camera, like ``static``.
            history: previous actions ``(B, W, H, action_dim)`` and their validity ``(B, W, H)``.
        """
        batch, window = static.shape[:2]
        cameras = torch.stack([static] if hand is None else [hand, static], dim=2)
        images = self.encode_images(cameras.flatten(0, 1)).flatten(1, 2)
        past = None if history is None else self.encode_history(*(part.flatten(0, 1) for part in history))
        merged = merge(
            self.embed_text(ids).repeat_interleave(window, dim=0),
            images,
            self._action_tokens(),
            bos=self.bos,
            eos=self.eos,
            text_mask=text_mask.repeat_interleave(window, dim=0),
            history=past,
            hide_action=self._head_config.fill_zero,
        )
        hidden = self.language_model(merged.embeddings, merged.mask)[:, merged.action]
        output: ActionOutput = self.act_head(hidden.view(batch, window, *hidden.shape[1:]))
        return output

    def _action_tokens(self) -> Tensor:
        return self.action_token.expand(self._head_config.latent, -1)

    @property
    def _head_config(self) -> ActHeadConfig:
        return _supported_head(self.config)


def _supported_head(config: RoboVLMConfig) -> ActHeadConfig:
    head = config.act_head
    if head is None or not config.train_setup.predict_action:
        raise ConfigError(
            "the configuration switches action prediction off ('act_head' is null or "
            "train_setup.predict_action is false); there is nothing here to control a robot with"
        )
    supported = {"act_head.action_space": "continuous", "act_head.history_type": "post"}
    for key, value in supported.items():
        actual = getattr(head, key.removeprefix("act_head."))
        if actual != value:
            raise ConfigError(f"{key} is {actual!r}; models with {value!r} can be run")
    if config.use_vision_resampler:
        raise ConfigError("use_vision_resampler is true; models without the vision resampler can be run")
    if config.act_encoder is not None and config.act_encoder.gripper_dim >= head.action_dim:
        raise ConfigError("act_encoder.gripper_dim must be smaller than act_head.action_dim")
    return head
