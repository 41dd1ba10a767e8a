"""What every policy head has in common: feature pooling, the two output networks, the loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from robovlms_ros.model.config import RoboVLMConfig


class ActionOutput(NamedTuple):
    """A predicted chunk.

    ``pose`` ``(..., N, pose_dim)`` is in [-1, 1]. ``gripper`` ``(..., N)`` are logits, None for actions without a
    gripper. ``scores`` ``(..., N, k)`` are the logits of a head that chooses among ``k`` actions.
    """

    pose: Tensor
    gripper: Tensor | None = None
    scores: Tensor | None = None

    def newest(self) -> ActionOutput:
        """Of the chunks of a window ``(B, W, N, ...)`` the one of its last step, ``(B, N, ...)``."""
        gripper, scores = (None if part is None else part[:, -1] for part in (self.gripper, self.scores))
        return ActionOutput(self.pose[:, -1], gripper, scores)


class ActionLosses(NamedTuple):
    """Scalars: the Huber loss of the pose, the cross entropy of the gripper, and the gripper's accuracy.

    Without a gripper its loss is 0 and its accuracy NaN.
    """

    arm: Tensor
    gripper: Tensor
    gripper_accuracy: Tensor


def _mlp(in_features: int, out_features: int) -> nn.Sequential:
    widths = (in_features, 1024, 512, 256, out_features)
    layers: list[nn.Module] = []
    for width, following in pairwise(widths):
        linear = nn.Linear(width, following)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class MLPTanhHead(nn.Module):
    """Four linear layers with ReLU between, squashed to [-1, 1]: the pose of a chunk."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.mlp = _mlp(in_features, out_features)

    def forward(self, features: Tensor) -> Tensor:
        """``(..., in_features)`` -> ``(..., out_features)`` in [-1, 1]."""
        return torch.tanh(self.mlp(features))


class MLPHead(nn.Module):
    """The same without squashing."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.mlp = _mlp(in_features, out_features)

    def forward(self, features: Tensor) -> Tensor:
        """``(..., in_features)`` -> ``(..., out_features)``."""
        out: Tensor = self.mlp(features)
        return out


class MLPSigmoidHead(MLPHead):
    """The gripper of a chunk, as **logits**. As upstream, the sigmoid is left to the loss and to inference."""


class BasePolicyHead(nn.Module, ABC):
    """From the backbone's tokens to a chunk of ``N`` actions.

    A head keeps nothing between calls: `init_state` makes the memory of an episode and `step` returns the next
    one beside the chunk. As many `step` calls as the window is long give what `forward` gives for that window.

    Args:
        config: the model's configuration, with its ``act_head``.
        in_features: width ``D`` of the backbone's tokens.
    """

    def __init__(self, config: RoboVLMConfig, in_features: int) -> None:
        super().__init__()
        head = config.act_head
        assert head is not None  # the model checks it, with a message for the user
        self.window_size = config.window_size
        self.chunk_length = config.fwd_pred_next_n
        self.pose_dim = head.pose_dim
        self.with_gripper = head.with_gripper
        self.latent = head.latent
        self.pooling = head.down_sample == "pooling"
        self.in_features = in_features * head.latent
        self.hidden_size = head.hidden_size * head.latent

    @classmethod
    def build(cls, config: RoboVLMConfig, in_features: int, tokenizer: Any) -> BasePolicyHead:
        """The head of a model with this tokenizer, which few heads need."""
        return cls(config, in_features)

    def _make_outputs(self) -> None:
        self.actions = MLPTanhHead(self.hidden_size, self.chunk_length * self.pose_dim)
        if self.with_gripper:
            self.gripper = MLPSigmoidHead(self.hidden_size, self.chunk_length)

    @abstractmethod
    def init_state(self, batch_size: int = 1) -> Any:
        """The memory at the start of an episode."""

    @abstractmethod
    def step(self, state: Any, tokens: Tensor) -> tuple[Any, ActionOutput]:
        """One control step: tokens ``(B, n, D)`` -> the next state and a chunk ``(B, N, ...)``."""

    @abstractmethod
    def forward(self, tokens: Tensor) -> ActionOutput:
        """A whole window at once: tokens ``(B, W, n, D)`` -> a chunk per step, ``(B, W, N, ...)``."""

    def pool(self, tokens: Tensor) -> Tensor:
        """One feature per step: ``(..., n, D)`` -> ``(..., latent * D)``, the maximum where pooling is on."""
        if self.pooling:
            flat = tokens.flatten(0, -3).transpose(-2, -1)
            pooled = functional.adaptive_max_pool1d(flat, self.latent).transpose(-2, -1)
            tokens = pooled.reshape(*tokens.shape[:-2], self.latent, tokens.shape[-1])
        return tokens.flatten(-2)

    def decode(self, hidden: Tensor) -> ActionOutput:
        """The two output networks: ``(..., hidden_size)`` -> a chunk per row."""
        pose: Tensor = self.actions(hidden)
        gripper = self.gripper(hidden) if self.with_gripper else None
        return ActionOutput(pose.view(*pose.shape[:-1], self.chunk_length, self.pose_dim), gripper)

    def loss(
        self, prediction: ActionOutput, pose: Tensor, gripper: Tensor | None, mask: Tensor | None = None
    ) -> ActionLosses:
        """Huber (delta 1) on the pose and binary cross entropy on the gripper, averaged where ``mask`` is True.

        Args:
            prediction: output for a batch of windows, ``(B, W, N, ...)``.
            pose: targets ``(B, W, N, pose_dim)`` in [-1, 1].
            gripper: targets ``(B, W, N)``, 0 = closed, 1 = open; None for actions without a gripper.
            mask: ``(B, W, N)``, True where the target exists; None where all do.
        """
        chosen = torch.ones(pose.shape[:-1], dtype=torch.bool, device=pose.device) if mask is None else mask.bool()
        arm = functional.huber_loss(prediction.pose[chosen], pose[chosen])
        if prediction.gripper is None or gripper is None:
            return ActionLosses(arm, arm.new_zeros(()), arm.new_full((), torch.nan))
        logits, target = prediction.gripper[chosen], gripper[chosen]
        return ActionLosses(
            arm,
            gripper=functional.binary_cross_entropy_with_logits(logits, target.to(logits.dtype)),
            gripper_accuracy=((logits.sigmoid() > 0.5) == (target > 0.5)).float().mean(),
        )
