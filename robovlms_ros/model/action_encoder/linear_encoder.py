"""Turns executed actions into tokens for the language model."""

from __future__ import annotations

from torch import Tensor, nn


class ActionLinearEncoder(nn.Module):
    """One token per action: arm and gripper are projected apart, added, and mixed by two linear layers.

    Upstream defines this module (``LinearActionEncoder``) and never uses it; the state_dict keys are its own.

    Args:
        arm_dim: pose dimensions of an action, normalised to [-1, 1].
        gripper_dim: gripper dimensions of an action, 0 = closed, 1 = open.
        hidden_size: width of the tokens, an even number.
    """

    def __init__(self, arm_dim: int, gripper_dim: int, hidden_size: int) -> None:
        super().__init__()
        self.arm_dim = arm_dim
        half = hidden_size // 2
        self.arm_mlp = nn.Linear(arm_dim, half)
        self.gripper_mlp = nn.Linear(gripper_dim, half)
        self.act_mlps = nn.ModuleList([nn.Linear(half, half), nn.Linear(half, hidden_size)])

    def forward(self, actions: Tensor) -> Tensor:
        """``(..., arm_dim + gripper_dim)`` -> ``(..., hidden_size)``."""
        arm, gripper = actions[..., : self.arm_dim], actions[..., self.arm_dim :]
        token: Tensor = self.arm_mlp(arm) + self.gripper_mlp(gripper)
        for layer in self.act_mlps:
            token = layer(token)
        return token
