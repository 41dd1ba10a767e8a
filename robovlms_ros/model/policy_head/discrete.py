"""Actions as the language model's next words: reading them out of it, and the loss for teaching it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from robovlms_ros.model.config import RoboVLMConfig
from robovlms_ros.model.discrete_prompt import IGNORED_LABEL
from robovlms_ros.model.errors import ModelError
from robovlms_ros.model.policy_head.action_tokenizer import ActionTokenizer
from robovlms_ros.model.policy_head.base_policy import ActionOutput, BasePolicyHead


class ActionTokens(NamedTuple):
    """A language model's answer: ids ``(B, count)`` and the scores they won with, ``(B, count, vocabulary)``."""

    ids: Tensor
    logits: Tensor


class TokenLosses(NamedTuple):
    """Scalars: cross entropy over all labels; how often the arm's and the gripper's tokens were right (NaN where
    there were none); mean distance between predicted and labelled actions, which carries no gradient."""

    arm: Tensor
    arm_accuracy: Tensor
    gripper_accuracy: Tensor
    action_l1: Tensor


LanguageModel = Callable[[Tensor, "Tensor | None", Any], Tensor]
"""Embeddings ``(B, n, D)``, mask and transformers cache -> hidden states; see `BaseRoboVLM.language_model`."""


def decode_tokens(
    language_model: LanguageModel,
    lm_head: Callable[[Tensor], Tensor],
    embed: Callable[[Tensor], Tensor],
    prefix: Tensor,
    count: int,
) -> ActionTokens:
    """The ``count`` most likely next tokens, one after the other, each read from one new position.

    Args:
        language_model: called with embeddings, no mask, and a cache.
        lm_head: hidden states ``(B, n, D)`` -> scores ``(B, n, vocabulary)``.
        embed: ids ``(B, n)`` -> embeddings ``(B, n, D)``, scaled as ``prefix`` is.
        prefix: images and prompt ``(B, n, D)``, without padding.
        count: how many tokens, ``action_dim`` per action.
    """
    from transformers import DynamicCache

    ids, scores, cache, embeddings = [], [], DynamicCache(), prefix
    for _ in range(count):
        scores.append(lm_head(language_model(embeddings, None, cache)[:, -1:]))
        ids.append(scores[-1].argmax(dim=-1))
        embeddings = embed(ids[-1])
    return ActionTokens(torch.cat(ids, dim=1), torch.cat(scores, dim=1))


def decode_tokens_in_parallel(
    language_model: LanguageModel,
    lm_head: Callable[[Tensor], Tensor],
    placeholder: Tensor,
    prefix: Tensor,
    count: int,
) -> ActionTokens:
    """All ``count`` tokens from one pass, with placeholders where the answer's own tokens would stand.

    Only for a model that was trained so: with every action token of its input replaced by ``placeholder`` (see
    `hide_answer`). A model trained on its own tokens answers nonsense here. After Kim et al. 2025
    (OpenVLA-OFT), but with causal attention.

    Args:
        language_model: called with embeddings, no mask, and no cache.
        lm_head: hidden states ``(B, n, D)`` -> scores ``(B, n, vocabulary)``.
        placeholder: one embedding ``(D,)``, the one used in training.
        prefix: images and prompt ``(B, n, D)``, without padding.
        count: how many tokens, ``action_dim`` per action.
    """
    blanks = placeholder.to(prefix.dtype).expand(prefix.shape[0], count - 1, -1)
    hidden = language_model(torch.cat([prefix, blanks], dim=1), None, None)
    logits = lm_head(hidden[:, -count:])
    return ActionTokens(logits.argmax(dim=-1), logits)


def before_answer(labels: Tensor, text_mask: Tensor | None = None) -> Tensor:
    """``(B, n)``, whether a position lies before the first label ``(B, n)`` and is no padding."""
    before = (labels != IGNORED_LABEL).cumsum(dim=1) == 0
    return before if text_mask is None else before & text_mask


def hide_answer(embeddings: Tensor, labels: Tensor, placeholder: Tensor) -> Tensor:
    """The input for training a model for `decode_tokens_in_parallel`: positions with a label get ``placeholder``.

    ``embeddings`` is ``(B, n, D)``, ``labels`` ``(B, n)``, ``placeholder`` ``(D,)``.
    """
    answer = (labels != IGNORED_LABEL).unsqueeze(-1)
    return torch.where(answer, placeholder.to(embeddings.dtype), embeddings)


class DiscreteDecoder(BasePolicyHead):
    """Turns action tokens into actions. It has no weights: the language model is what predicts.

    Its "tokens" are therefore ids, from `decode_tokens`: as many as there are numbers in the actions they stand
    for, so the chunk is as long as the answer was. A model decides by greedy choice, which leaves the gripper
    open or closed: its logit is 1 or -1.

    Args:
        config: the model's configuration, with its ``act_head``.
        in_features: width of the backbone's tokens (without effect).
        tokenizer: the backbone's tokenizer.
    """

    def __init__(self, config: RoboVLMConfig, in_features: int, tokenizer: Any) -> None:
        super().__init__(config, in_features)
        head = config.act_head
        assert head is not None  # the base class relies on it
        self.action_dim = head.action_dim
        # As upstream, one token after the other makes one action only: each token costs a pass.
        self.chunk_length = self.chunk_length if head.parallel_decoding else 1
        self.action_tokenizer = ActionTokenizer(tokenizer, head.n_bin, head.min_action, head.max_action)

    @classmethod
    def build(cls, config: RoboVLMConfig, in_features: int, tokenizer: Any) -> DiscreteDecoder:
        """See `BasePolicyHead.build`."""
        return cls(config, in_features, tokenizer)

    def init_state(self, batch_size: int = 1) -> None:
        """Nothing to remember."""

    def step(self, state: None, tokens: Tensor) -> tuple[None, ActionOutput]:
        """One control step: ids ``(B, N * action_dim)`` -> None and a chunk ``(B, N, ...)``."""
        return None, self(tokens)

    def forward(self, tokens: Tensor) -> ActionOutput:
        """Ids ``(..., N * action_dim)`` -> a chunk per row, ``(..., N, ...)``, float32.

        The pose is in the centre of its bins, between ``min_action`` and ``max_action``. Raises `ModelError`
        where the ids are not whole actions.
        """
        if tokens.shape[-1] % self.action_dim:
            raise ModelError(
                f"{tokens.shape[-1]} action tokens are not whole actions of {self.action_dim} numbers; "
                "decode action_dim tokens per action"
            )
        values = self.action_tokenizer.decode(tokens.cpu().numpy())
        actions = (
            torch.from_numpy(values).to(tokens.device, torch.float32).view(*tokens.shape[:-1], -1, self.action_dim)
        )
        if not self.with_gripper:
            return ActionOutput(actions)
        return ActionOutput(actions[..., :-1], torch.where(actions[..., -1] > 0, 1.0, -1.0))

    def token_loss(self, logits: Tensor, labels: Tensor) -> TokenLosses:
        """Cross entropy, and how well the actions among the labels are met.

        Args:
            logits: scores ``(count, vocabulary)`` that the language model gave to the next token.
            labels: ``(count,)``, what that token was.
        """
        loss = functional.cross_entropy(logits, labels)
        wanted = labels.cpu().numpy()
        chosen = self.action_tokenizer.is_action(wanted)
        predicted = logits.argmax(dim=-1).cpu().numpy()[chosen]
        wanted = wanted[chosen]
        if len(wanted) % self.action_dim:
            raise ModelError(
                f"the labels hold {len(wanted)} action tokens, not whole actions of {self.action_dim}; "
                "mask actions beyond the episode as a whole"
            )
        correct = torch.from_numpy(predicted == wanted).view(-1, self.action_dim).float()
        distance = self.action_tokenizer.decode(predicted) - self.action_tokenizer.decode(wanted)
        return TokenLosses(
            arm=loss,
            arm_accuracy=correct[:, : self.pose_dim].mean(),
            gripper_accuracy=correct[:, self.pose_dim :].mean(),
            action_l1=torch.from_numpy(distance).abs().mean(),
        )
