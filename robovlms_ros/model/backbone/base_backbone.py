"""A vision-language-action model: what all backbones share."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from robovlms_ros.model.action_encoder.linear_encoder import ActionLinearEncoder
from robovlms_ros.model.backbone.vision_language import VisionLanguageModel
from robovlms_ros.model.config import RoboVLMConfig
from robovlms_ros.model.context import PreContext, make_context
from robovlms_ros.model.discrete_prompt import IGNORED_LABEL
from robovlms_ros.model.errors import ConfigError, ModelError
from robovlms_ros.model.head_config import checked_head
from robovlms_ros.model.policy_head.base_policy import ActionOutput
from robovlms_ros.model.policy_head.discrete import (
    TokenLosses,
    before_answer,
    decode_tokens,
    decode_tokens_in_parallel,
    hide_answer,
)
from robovlms_ros.model.prompt import instruction_ids, special_tokens, text_template
from robovlms_ros.model.registry import policy_head_class
from robovlms_ros.model.sequence import MaskedTokens, MergedSequence, merge
from robovlms_ros.model.vision_encoder.vision_resampler import PerceiverResampler


class EpisodeState(NamedTuple):
    """What a model remembers between control steps: earlier frames (`context`) and the policy head's memory."""

    context: Any
    head: Any


class BaseRoboVLM(VisionLanguageModel):
    """Images and an instruction go through a language model; a policy head reads its answer at the ACT token.

    A subclass says where its parts are and how images become tokens. The state_dict has upstream's keys:
    ``backbone.*``, ``act_head.*`` and ``action_token``; ``act_encoder.*`` where the configuration asks for it.

    Args:
        config: the model's configuration.
        backbone: the transformers model, on any device (the meta device included).
        tokenizer: its tokenizer.
    """

    def __init__(self, config: RoboVLMConfig, backbone: nn.Module, tokenizer: Any) -> None:
        super().__init__(backbone)
        self.head_config = head = checked_head(config)
        self.config = config
        self.tokenizer = tokenizer
        self.text_template = text_template(config)
        self.context = make_context(head, config.window_size)
        # Upstream goes by what the tokenizer has, not by what it puts into the text. For discrete models it puts
        # the images behind the first token whatever that is, and the answer takes the place of the end token.
        self.discrete = head.action_space == "discrete"
        self.bos = 1 if self.discrete else int(tokenizer.bos_token is not None)
        self.eos = 0 if self.discrete else int(tokenizer.eos_token is not None)
        width = self.hidden_size
        self.act_head: Any = policy_head_class(head.type).build(config, width, tokenizer)
        if head.action_space == "continuous" or (self.discrete and head.parallel_decoding):
            self.action_token = nn.Parameter(torch.zeros(width))
        self.vision_resampler = PerceiverResampler(width) if config.use_vision_resampler else None
        self.act_encoder: ActionLinearEncoder | None = None
        if config.act_encoder is not None:
            gripper_dim = config.act_encoder.gripper_dim
            self.act_encoder = ActionLinearEncoder(head.action_dim - gripper_dim, gripper_dim, width)
        if config.state_encoder is not None:
            self.embed_arm_state = nn.Linear(config.state_encoder.arm_dim + config.state_encoder.opening, width)
            self.embed_gripper_state = nn.Embedding(2, width)
            self.embed_state = nn.Linear(2 * width, width)

    @property
    def special_tokens(self) -> list[str]:
        """Strings that the tokenizer takes for control tokens and that an instruction therefore must not hold."""
        return special_tokens(self.tokenizer)

    def encode_images(self, pixels: Tensor) -> Tensor:
        """``(B, T, 3, S, S)`` -> ``(B, T, V, D)`` in one call of the image encoder; T counts frames or cameras."""
        features = self.image_features(pixels.flatten(0, 1))
        return self.image_tokens(features.view(*pixels.shape[:2], *features.shape[1:]))

    def image_tokens(self, features: Tensor) -> Tensor:
        """What of `encode_images` comes behind `image_features`: ``(B, T, V, D)`` -> the same, V may differ."""
        if self.vision_resampler is None:
            return features
        tokens: Tensor = self.vision_resampler(features.flatten(0, 1))
        return tokens.view(*features.shape[:2], *tokens.shape[1:])

    def encode_text(self, instruction: str) -> Tensor:
        """Token ids ``(1, T)`` of the prompt for one instruction; see `instruction_ids` for what is refused."""
        return torch.tensor([instruction_ids(instruction, self.tokenizer, self.config)], device=self.device)

    def encode_history(self, actions: Tensor, valid: Tensor) -> MaskedTokens:
        """Previous actions ``(B, H, action_dim)``, normalised, with their validity ``(B, H)``, as tokens.

        Every row becomes one token. A row that is not valid keeps its place, so that the others do not shift,
        and is hidden from attention.
        """
        if self.act_encoder is None:
            raise ConfigError(
                "this model has no action encoder; train one with 'act_encoder' in its configuration"
            )
        return MaskedTokens(self.act_encoder(actions), valid)

    def encode_state(self, state: Tensor) -> MaskedTokens:
        """The robot's own state ``(B, arm_dim + 1)`` as one token; its last number is the gripper's opening."""
        if self.config.state_encoder is None:
            raise ConfigError(
                "this model has no state encoder; train one with 'state_encoder' in its configuration"
            )
        gripper = self.embed_gripper_state((state[:, -1] > 0.5).long())
        arm = state if self.config.state_encoder.opening else state[:, :-1]
        token = self.embed_state(torch.cat([self.embed_arm_state(arm), gripper], dim=-1))
        return self._masked(token.unsqueeze(1))

    def arrange(
        self,
        images: Tensor,
        text: Tensor,
        text_mask: Tensor | None = None,
        history: MaskedTokens | None = None,
        state: MaskedTokens | None = None,
        prompt: Tensor | None = None,
    ) -> MergedSequence:
        """Image tokens ``(B, V, D)`` and embedded prompts ``(B, T, D)`` -> the sequence for the language model.

        ``prompt`` ``(B, T)`` is False on padding and on an answer that is to be learned, for a backbone that
        looks at its images with the instruction in mind.
        """
        further = [tokens for tokens in (state, history) if tokens is not None]
        if self.head_config.action_space == "continuous":
            action = self.action_token.expand(text.shape[0], self.head_config.latent, -1)
            further.append(self._masked(action))
        return merge(text, images, further, bos=self.bos, eos=self.eos, text_mask=text_mask)

    def _masked(self, tokens: Tensor) -> MaskedTokens:
        hidden = self.head_config.fill_zero
        return MaskedTokens(tokens, tokens.new_zeros(tokens.shape[:2], dtype=torch.bool) if hidden else None)

    def read_span(self, sequence: MergedSequence) -> slice:
        """Where the policy head reads: ACT, or the tokens that ``token_source`` names."""
        if self.head_config.action_space == "continuous":
            return sequence.action
        whole = slice(0, sequence.embeddings.shape[1])
        return {"all": whole, "text": sequence.text, "vision": sequence.vision}[self.head_config.token_source]

    def read(self, sequence: MergedSequence) -> Tensor:
        """What the policy head reads: hidden states ``(B, k, D)``, or the ids of a discrete answer, ``(B, k)``.

        Nothing behind that is computed: attention is causal, so it could not change the answer.
        """
        if self.discrete:
            return self._answer(sequence.embeddings)
        span = self.read_span(sequence)
        mask = None if sequence.mask is None else sequence.mask[:, : span.stop]
        shortened = sequence._replace(embeddings=sequence.embeddings[:, : span.stop], mask=mask)
        return self.attend(shortened)[:, span]

    def attend(self, sequence: MergedSequence) -> Tensor:
        """Hidden states ``(B, n, D)`` of a sequence by itself."""
        return self.language_model(sequence.embeddings, sequence.mask)

    def _answer(self, prefix: Tensor) -> Tensor:
        count = self.act_head.chunk_length * self.head_config.action_dim
        if self.head_config.parallel_decoding:
            decode = partial(decode_tokens_in_parallel, placeholder=self.action_token)
        else:
            decode = partial(decode_tokens, embed=self.embed_text)
        return decode(self.language_model, self.word_scores, prefix=prefix, count=count).ids

    def fuse(
        self,
        images: Tensor,
        text: Tensor,
        history: MaskedTokens | None = None,
        state: MaskedTokens | None = None,
    ) -> Tensor:
        """What the policy head reads of one frame by itself; see `read`.

        Args:
            images: image tokens ``(B, cameras, V, D)``, the hand camera first.
            text: embedded prompt ``(B, T, D)``, without padding.
            history: encoded previous actions, for a model with an action encoder.
            state: the encoded state of the robot, for a model with a state encoder.
        """
        return self.read(self.arrange(images.flatten(1, 2), text, None, history, state))

    def init_state(self, batch_size: int = 1) -> EpisodeState:
        """The memory at the start of an episode."""
        return EpisodeState(self.context.init_state(), self.act_head.init_state(batch_size))

    def observe(
        self,
        memory: EpisodeState,
        images: Tensor,
        text: Tensor,
        history: MaskedTokens | None = None,
        state: MaskedTokens | None = None,
    ) -> tuple[EpisodeState, Tensor]:
        """The first half of a control step: the next memory, and what the policy head is to read.

        The arguments are those of `fuse`. The memory given stays as it was.
        """
        arrange = partial(self.arrange, text=text, history=history, state=state)
        context, tokens = self.context.fuse(self, memory.context, images, arrange)
        return memory._replace(context=context), tokens

    def decide(self, memory: EpisodeState, tokens: Tensor) -> tuple[EpisodeState, ActionOutput]:
        """The second half: the next memory, and the chunk ``(B, N, ...)`` for now."""
        head, output = self.context.decide(self.act_head, memory.head, tokens)
        return memory._replace(head=head), output

    def forward(
        self,
        static: Tensor,
        ids: Tensor,
        text_mask: Tensor | None = None,
        hand: Tensor | None = None,
        history: tuple[Tensor, Tensor] | None = None,
        state: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> ActionOutput | TokenLosses:
        """A batch of windows, for training: a chunk for every step of every window, ``(B, W, N, ...)``.

        A ``video`` model answers for the newest step alone, ``(B, 1, N, ...)``. A discrete model gives its losses.

        Args:
            static: images ``(B, W, 3, S, S)`` of the static camera, preprocessed, or what `image_features` makes
                of them, ``(B, W, V, D)``.
            ids: prompts ``(B, T)``, padded on the right. Discrete: prompt and answer of every step ``(B, W, T)``.
            text_mask: like ``ids``, False on padding; None where there is none.
            hand: images of the hand camera, like ``static``.
            history: previous actions ``(B, W, H, action_dim)`` and their validity ``(B, W, H)``.
            state: the robot's own state ``(B, W, arm_dim + 1)``.
            labels: discrete: like ``ids``, -100 where no token is to be learned.
        """
        if self.discrete:
            if labels is None:
                raise ModelError("a discrete model is trained with labels; give them beside ids and text_mask")
            return self._token_losses(self.window_images(static, hand), ids, text_mask, labels)
        output: ActionOutput = self.act_head(self.read_windows(static, ids, text_mask, hand, history, state))
        return output

    def read_windows(
        self,
        static: Tensor,
        ids: Tensor,
        text_mask: Tensor | None = None,
        hand: Tensor | None = None,
        history: tuple[Tensor, Tensor] | None = None,
        state: Tensor | None = None,
    ) -> Tensor:
        """What the policy head reads of a batch of windows, ``(B, steps, n, D)``; the arguments of `forward`."""
        return self.read_images(self.window_images(static, hand), ids, text_mask, history, state)

    def read_images(
        self,
        images: Tensor,
        ids: Tensor,
        text_mask: Tensor | None = None,
        history: tuple[Tensor, Tensor] | None = None,
        state: Tensor | None = None,
    ) -> Tensor:
        """The same from image tokens, as `window_images` gives them."""
        rows = self.context.rows(images)
        steps = rows.shape[0] // images.shape[0]
        sequence = self.arrange(
            rows,
            self.embed_text(ids).repeat_interleave(steps, dim=0),
            None if text_mask is None else text_mask.repeat_interleave(steps, dim=0),
            None
            if history is None
            else self.encode_history(*(part[:, -steps:].flatten(0, 1) for part in history)),
            None if state is None else self.encode_state(state[:, -steps:].flatten(0, 1)),
        )
        hidden = self.context.run(self, sequence, steps)[:, self.read_span(sequence)]
        return hidden.view(-1, steps, *hidden.shape[1:])

    def window_images(self, static: Tensor, hand: Tensor | None = None) -> Tensor:
        """Image tokens of a batch of windows, ``(B, W, cameras, V, D)``, the hand camera first; see `forward`."""
        cameras = torch.stack([static] if hand is None else [hand, static], dim=2)
        encode = self.encode_images if static.ndim == 5 else self.image_tokens
        images = encode(cameras.flatten(0, 1))
        return images.view(*static.shape[:2], *images.shape[1:])

    def _token_losses(self, images: Tensor, ids: Tensor, text_mask: Tensor | None, labels: Tensor) -> TokenLosses:
        rows = images.flatten(0, 1).flatten(1, 2)
        ids, labels = ids.flatten(0, 1), labels.flatten(0, 1)
        text_mask = None if text_mask is None else text_mask.flatten(0, 1)
        text, prompt = self.embed_text(ids), before_answer(labels, text_mask)
        sequence = self.arrange(rows, text, text_mask, prompt=prompt)
        unlabelled = torch.full_like(sequence.embeddings[:, sequence.vision, 0], IGNORED_LABEL, dtype=labels.dtype)
        labels = torch.cat([labels[:, : self.bos], unlabelled, labels[:, self.bos :]], dim=1)
        embeddings = sequence.embeddings
        if self.head_config.parallel_decoding:
            embeddings = hide_answer(embeddings, labels, self.action_token)
        # Whatever the history type, the steps of a window follow each other in one sequence.
        interleaved = PreContext(images.shape[1])
        hidden = interleaved.run(self, sequence._replace(embeddings=embeddings), images.shape[1])
        hidden, labels = hidden.reshape(len(images), -1, hidden.shape[-1]), labels.reshape(len(images), -1)
        # Only positions with a label behind them are scored: a vocabulary is wide.
        chosen = labels[:, 1:] != IGNORED_LABEL
        scores = self.word_scores(hidden[:, :-1][chosen])
        losses: TokenLosses = self.act_head.token_loss(scores, labels[:, 1:][chosen])
        return losses
