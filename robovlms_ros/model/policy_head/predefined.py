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
    MLPSigmoidHead,
)
from robovlms_ros.model.policy_head.fc import feature_mlp


class PredefinedDecoder(BasePolicyHead):
    """Scores every row of a table of actions, for every place of the chunk, and takes the best.

    For robots with few commands (forward, back, turn, stop), where a continuous action would have to be rounded.
    Upstream has no such head. It has no memory.

    Args:
        config: the model's configuration, with its ``act_head``.
        in_features: width of the backbone's tokens.
        actions: the table, ``k`` rows of ``action_dim`` numbers as the model sees them: pose in [-1, 1], then the
            gripper, 0 = closed, 1 = open.

    Raises `ConfigError` where the table does not fit.
    """

    def __init__(self, config: RoboVLMConfig, in_features: int, actions: Sequence[Sequence[float]]) -> None:
        super().__init__(config, in_features)
        self.table = _check_table(actions, self.pose_dim)
        self.mlp = feature_mlp(self.in_features, self.hidden_size)
        self.scores = MLPSigmoidHead(self.hidden_size, self.chunk_length * len(self.table))

    def init_state(self, batch_size: int = 1) -> None:
        """Nothing to remember."""

    def step(self, state: None, tokens: Tensor) -> tuple[None, ActionOutput]:
        """One control step: tokens ``(B, n, D)`` -> None and a chunk ``(B, N, ...)``."""
        return None, self(tokens)

    def forward(self, tokens: Tensor) -> ActionOutput:
        """A whole window at once: tokens ``(B, W, n, D)`` -> a chunk per step, ``(B, W, N, ...)``.

        The actions are rows of the table; a gripper logit is 1 (open) or -1.
        """
        rows = self.table.to(tokens.device)[self.score(tokens).argmax(dim=-1)]
        return ActionOutput(rows[..., :-1], 2 * rows[..., -1] - 1)

    def score(self, tokens: Tensor) -> Tensor:
        """Tokens ``(..., n, D)`` -> a logit per table row and place in the chunk, ``(..., N, k)``."""
        scores: Tensor = self.scores(self.mlp(self.pool(tokens)))
        return scores.view(*scores.shape[:-1], self.chunk_length, len(self.table))

    def choice_loss(
        self, scores: Tensor, pose: Tensor, gripper: Tensor, mask: Tensor | None = None
    ) -> ActionLosses:
        """Cross entropy of choosing the row nearest to the target, averaged where ``mask`` is True.

        All of it counts as the arm's loss; the gripper's is 0.

        Args:
            scores: from `score`, ``(B, W, N, k)``.
            pose: targets ``(B, W, N, action_dim - 1)`` in [-1, 1].
            gripper: targets ``(B, W, N)``, 0 = closed, 1 = open.
            mask: ``(B, W, N)``, True where the target exists; None where all do.
        """
        table = self.table.to(scores.device)
        target = torch.cat([pose, gripper.unsqueeze(-1)], dim=-1).to(table.dtype)
        nearest = torch.cdist(target.flatten(0, -2), table).argmin(dim=-1).view(gripper.shape)
        chosen = torch.ones_like(gripper, dtype=torch.bool) if mask is None else mask.bool()
        opened = table[scores.argmax(dim=-1)][..., -1][chosen]
        return ActionLosses(
            arm=functional.cross_entropy(scores[chosen].float(), nearest[chosen]),
            gripper=scores.new_zeros(()),
            gripper_accuracy=((opened > 0.5) == (gripper[chosen] > 0.5)).float().mean(),
        )


def _check_table(actions: Sequence[Sequence[float]], pose_dim: int) -> Tensor:
    if len(actions) < 2 or any(len(row) != pose_dim + 1 for row in actions):
        raise ConfigError(
            f"the table of predefined actions needs at least 2 rows of {pose_dim + 1} numbers (action_dim), "
            f"it has {len(actions)} rows of {sorted({len(row) for row in actions})}"
        )
    # On the CPU even where the model is built on the meta device: these are constants, not weights.
    table = torch.tensor([list(row) for row in actions], dtype=torch.float32, device="cpu")
    gripper = table[:, -1]
    if not (table[:, :-1].abs() <= 1).all() or not ((gripper == 0) | (gripper == 1)).all():
        raise ConfigError(
            "predefined actions are normalised: pose numbers between -1 and 1, then the gripper, 0 or 1; "
            "correct the table"
        )
    return table
