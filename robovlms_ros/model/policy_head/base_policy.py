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
    """A predicted chunk: ``pose`` ``(..., N, action_dim - 1)`` in [-1, 1] and ``gripper`` logits ``(..., N)``."""

    pose: Tensor
    gripper: Tensor


class ActionLosses(NamedTuple):
    """Scalars: the Huber loss of the pose, the cross entropy of the gripper, and the gripper's accuracy."""

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


class MLPSigmoidHead(nn.Module):
    """The same without squashing: **logits**. As upstream, the sigmoid is left to the loss and to inference."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.mlp = _mlp(in_features, out_features)

    def forward(self, features: Tensor) -> Tensor:
        """``(..., in_features)`` -> ``(..., out_features)`` logits."""
        logits: Tensor = self.mlp(features)
        return logits


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
        self.pose_dim = head.action_dim - 1
        self.latent = head.latent
        self.pooling = head.down_sample == "pooling"
        self.in_features = in_features * head.latent
        self.hidden_size = head.hidden_size * head.latent

    def _make_outputs(self) -> None:
        self.actions = MLPTanhHead(self.hidden_size, self.chunk_length * self.pose_dim)
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
        return ActionOutput(pose.view(*pose.shape[:-1], self.chunk_length, self.pose_dim), self.gripper(hidden))

    @staticmethod
    def loss(prediction: ActionOutput, pose: Tensor, gripper: Tensor, mask: Tensor | None = None) -> ActionLosses:
        """Huber (delta 1) on the pose and binary cross entropy on the gripper, averaged where ``mask`` is True.

        Args:
            prediction: output for a batch of windows, ``(B, W, N, ...)``.
            pose: targets ``(B, W, N, action_dim - 1)`` in [-1, 1].
            gripper: targets ``(B, W, N)``, 0 = closed, 1 = open.
            mask: ``(B, W, N)``, True where the target exists; None where all do.
        """
        chosen = torch.ones_like(gripper, dtype=torch.bool) if mask is None else mask.bool()
        logits, target = prediction.gripper[chosen], gripper[chosen]
        return ActionLosses(
            arm=functional.huber_loss(prediction.pose[chosen], pose[chosen]),
            gripper=functional.binary_cross_entropy_with_logits(logits, target.to(logits.dtype)),
            gripper_accuracy=((logits.sigmoid() > 0.5) == (target > 0.5)).float().mean(),
        )
