"""The policy head that attends over the last steps."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from robovlms_ros.model.config import RoboVLMConfig
from robovlms_ros.model.policy_head.base_policy import ActionOutput, BasePolicyHead
from robovlms_ros.model.policy_head.trajectory_gpt2 import KeyValues, TrajectoryGPT2


class GPTState(NamedTuple):
    """The projected features of the last ``t <= W`` steps, ``(B, t, hidden)``, and what attention made of them.

    ``past`` is None before the first step and once the window is full.
    """

    features: Tensor
    past: tuple[KeyValues, ...] | None


class GPTDecoder(BasePolicyHead):
    """A GPT-2 over the features of the last ``W`` steps, then one network for the pose and one for the gripper.

    Positions count from the oldest step in the window. While an episode is shorter than the window, a step only
    adds one position to what attention remembers; from then on every feature moves by one position at every
    step, and the whole window is computed again.
    """

    def __init__(self, config: RoboVLMConfig, in_features: int) -> None:
        super().__init__(config, in_features)
        head = config.act_head
        assert head is not None  # the base class relies on it
        # Per token, before the tokens of a step are joined: upstream's layer, which only fits one token.
        same = head.hidden_size == in_features
        self.fc = nn.Identity() if same else nn.Linear(in_features, head.hidden_size)
        self.gpt = TrajectoryGPT2(self.hidden_size, self.window_size)
        self._make_outputs()

    def init_state(self, batch_size: int = 1) -> GPTState:
        """No steps yet, on the device and in the type of the weights."""
        return GPTState(self.gpt.wpe.weight.new_zeros(batch_size, 0, self.hidden_size), None)

    def step(self, state: GPTState, tokens: Tensor) -> tuple[GPTState, ActionOutput]:
        """One control step: tokens ``(B, n, D)`` -> the next state and a chunk ``(B, N, ...)``."""
        features = torch.cat([state.features, self._project(tokens).unsqueeze(1)], dim=1)[:, -self.window_size :]
        if state.past is None:
            hidden, past = self.gpt(features)
        else:
            hidden, past = self.gpt(features[:, -1:], state.past)
        full = features.shape[1] == self.window_size
        return GPTState(features, None if full else past), self.decode(hidden[:, -1])

    def forward(self, tokens: Tensor) -> ActionOutput:
        """A whole window at once: tokens ``(B, W, n, D)`` -> a chunk per step, ``(B, W, N, ...)``."""
        hidden, _ = self.gpt(self._project(tokens))
        return self.decode(hidden)

    def _project(self, tokens: Tensor) -> Tensor:
        pooled = self.pool(tokens)
        projected: Tensor = self.fc(pooled.view(*pooled.shape[:-1], self.latent, -1))
        return projected.flatten(-2)
