"""The policy head without a memory."""

from __future__ import annotations

from torch import Tensor, nn

from robovlms_ros.model.config import RoboVLMConfig
from robovlms_ros.model.policy_head.base_policy import ActionOutput, BasePolicyHead


def feature_mlp(in_features: int, out_features: int) -> nn.Sequential:
    """Two linear layers with a ReLU between, the hidden one half as wide as the input (Xavier, zero bias)."""
    first, second = nn.Linear(in_features, in_features // 2), nn.Linear(in_features // 2, out_features)
    for linear in (first, second):
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
    return nn.Sequential(first, nn.ReLU(), second)


class FCDecoder(BasePolicyHead):
    """Every step is decoded by itself: a small network on the pooled tokens, then pose and gripper."""

    def __init__(self, config: RoboVLMConfig, in_features: int) -> None:
        super().__init__(config, in_features)
        self.mlp = feature_mlp(self.in_features, self.hidden_size)
        self._make_outputs()

    def init_state(self, batch_size: int = 1) -> None:
        """Nothing to remember."""

    def step(self, state: None, tokens: Tensor) -> tuple[None, ActionOutput]:
        """One control step: tokens ``(B, n, D)`` -> None and a chunk ``(B, N, ...)``."""
        return None, self(tokens)

    def forward(self, tokens: Tensor) -> ActionOutput:
        """A whole window at once: tokens ``(B, W, n, D)`` -> a chunk per step, ``(B, W, N, ...)``."""
        return self.decode(self.mlp(self.pool(tokens)))
