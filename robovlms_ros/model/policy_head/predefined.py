"""The policy head that chooses among actions fixed beforehand."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from robovlms_ros.model.config import RoboVLMConfig
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.model.policy_head.base_policy import (
    ActionLosses,
    ActionOutput,
    BasePolicyHead,
    MLPHead,
)
from robovlms_ros.model.policy_head.fc import feature_mlp


class PredefinedDecoder(BasePolicyHead):
    """Scores every row of a table of actions, for every place of the chunk, and takes the best.

    For robots with few commands (forward, back, turn, stop), where a continuous action would have to be rounded.
    Upstream has no such head. It has no memory.

    Args:
        config: the model's configuration. Its ``act_head.predefined_actions`` is the table: ``k`` rows of
            ``action_dim`` numbers as the model sees them, pose in [-1, 1], then the gripper, 0 = closed, 1 = open.
        in_features: width of the backbone's tokens.

    Raises `ConfigError` where the table does not fit.
    """

    def __init__(self, config: RoboVLMConfig, in_features: int) -> None:
        super().__init__(config, in_features)
        head = config.act_head
        assert head is not None  # the base class relies on it
        self.table = _check_table(head.predefined_actions or [], self.pose_dim, head.action_dim)
        self.mlp = feature_mlp(self.in_features, self.hidden_size)
        self.scores = MLPHead(self.hidden_size, self.chunk_length * len(self.table))

    def init_state(self, batch_size: int = 1) -> None:
        """Nothing to remember."""

    def step(self, state: None, tokens: Tensor) -> tuple[None, ActionOutput]:
        """One control step: tokens ``(B, n, D)`` -> None and a chunk ``(B, N, ...)``."""
        return None, self(tokens)

    def forward(self, tokens: Tensor) -> ActionOutput:
        """A whole window at once: tokens ``(B, W, n, D)`` -> a chunk per step, ``(B, W, N, ...)``.

        The actions are rows of the table; a gripper logit is 1 (open) or -1. A gradient only flows through the
        scores.
        """
        scores: Tensor = self.scores(self.mlp(self.pool(tokens)))
        scores = scores.view(*scores.shape[:-1], self.chunk_length, len(self.table))
        rows = self.table.to(tokens.device)[scores.argmax(dim=-1)]
        gripper = 2 * rows[..., -1] - 1 if self.with_gripper else None
        return ActionOutput(rows[..., : self.pose_dim], gripper, scores)

    def loss(
        self, prediction: ActionOutput, pose: Tensor, gripper: Tensor | None, mask: Tensor | None = None
    ) -> ActionLosses:
        """Cross entropy of choosing the row nearest to the target, averaged where ``mask`` is True.

        The arguments are those of `BasePolicyHead.loss`. All of it counts as the arm's loss; the gripper's is 0.
        """
        assert prediction.scores is not None  # this head's always has them
        table, scores = self.table.to(pose.device), prediction.scores
        target = pose if gripper is None else torch.cat([pose, gripper.unsqueeze(-1)], dim=-1)
        nearest = torch.cdist(target.flatten(0, -2).to(table.dtype), table).argmin(dim=-1).view(pose.shape[:-1])
        chosen = torch.ones_like(nearest, dtype=torch.bool) if mask is None else mask.bool()
        arm = functional.cross_entropy(scores[chosen].float(), nearest[chosen])
        accuracy = arm.new_full((), torch.nan)
        if prediction.gripper is not None and gripper is not None:
            accuracy = ((prediction.gripper[chosen] > 0) == (gripper[chosen] > 0.5)).float().mean()
        return ActionLosses(arm, arm.new_zeros(()), accuracy)


def _check_table(actions: Sequence[Sequence[float]], pose_dim: int, action_dim: int) -> Tensor:
    if len(actions) < 2 or any(len(row) != action_dim for row in actions):
        raise ConfigError(
            f"act_head.predefined_actions needs at least 2 rows of {action_dim} numbers (action_dim), "
            f"it has {len(actions)} rows of {sorted({len(row) for row in actions})}"
        )
    # On the CPU even where the model is built on the meta device: these are constants, not weights.
    table = torch.tensor([list(row) for row in actions], dtype=torch.float32, device="cpu")
    gripper = table[:, pose_dim:]
    if not (table[:, :pose_dim].abs() <= 1).all() or not ((gripper == 0) | (gripper == 1)).all():
        raise ConfigError(
            "predefined actions are normalised: pose numbers between -1 and 1, then the gripper, 0 or 1; "
            "correct act_head.predefined_actions"
        )
    return table
