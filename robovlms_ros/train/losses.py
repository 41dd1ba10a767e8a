"""What is minimised: the action loss of a policy head, and what else a run adds to it.

Names are upstream's (robovlms.md, section 8.2), without their prefix ``train_`` or ``val_``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from robovlms_ros.model.discrete_prompt import IGNORED_LABEL
from robovlms_ros.model.policy_head.base_policy import ActionLosses, ActionOutput, BasePolicyHead
from robovlms_ros.model.policy_head.discrete import TokenLosses
from robovlms_ros.train.batch import Batch

PoseLoss = Literal["huber", "mse"]
GRIPPER_RATIO: Mapping[PoseLoss, float] = {"huber": 0.01, "mse": 0.1}
"""Weight of the gripper beside the pose where a configuration names none: upstream's, and the seeds'."""


@dataclass(frozen=True)
class LossSettings:
    """``huber``: masked Huber (delta 1) + ratio * BCE with logits, upstream's. ``mse``: the squared error."""

    pose: PoseLoss = "huber"
    gripper_ratio: float = GRIPPER_RATIO["huber"]


def squared_losses(prediction: ActionOutput, pose: Tensor, gripper: Tensor | None, mask: Tensor) -> ActionLosses:
    """`BasePolicyHead.loss` with the squared error of the pose, as this project's first notes had it."""
    arm = functional.mse_loss(prediction.pose[mask], pose[mask])
    if prediction.gripper is None or gripper is None:
        return ActionLosses(arm, arm.new_zeros(()), arm.new_full((), torch.nan))
    logits, target = prediction.gripper[mask], gripper[mask]
    return ActionLosses(
        arm,
        # The notes take the logarithm of a probability; this is the same number, without rounding to log(0).
        functional.binary_cross_entropy_with_logits(logits, target.to(logits.dtype)),
        ((logits > 0) == (target > 0.5)).float().mean(),
    )


def continuous_losses(
    head: BasePolicyHead, prediction: ActionOutput, batch: Batch, settings: LossSettings
) -> dict[str, Tensor]:
    """Scalars for a chunk per step, ``loss`` being the one to minimise; means over the actions that exist.

    A ``video`` model answers for the newest step of a window alone, and is scored there.
    """
    steps = prediction.pose.shape[1]
    pose, mask = batch.pose[:, -steps:], batch.mask[:, -steps:]
    gripper = None if batch.gripper is None else batch.gripper[:, -steps:]
    losses = (
        head.loss(prediction, pose, gripper, mask)
        if settings.pose == "huber"
        else squared_losses(prediction, pose, gripper, mask)
    )
    parts = {"loss": losses.arm + settings.gripper_ratio * losses.gripper, "loss_arm_act": losses.arm}
    if batch.gripper is not None:
        parts |= {"loss_gripper_act": losses.gripper, "acc_gripper_act": losses.gripper_accuracy}
    return parts | {"action_l1": (prediction.pose[mask] - pose[mask]).abs().mean()}


def discrete_losses(losses: TokenLosses) -> dict[str, Tensor]:
    """Scalars for words: all of the cross entropy is the arm's, as upstream."""
    return {
        "loss": losses.arm,
        "loss_arm_act": losses.arm,
        "acc_arm_act": losses.arm_accuracy,
        "acc_gripper_act": losses.gripper_accuracy,
        "action_l1": losses.action_l1,
    }


def scored(batch: Batch, newest_only: bool) -> int:
    """How many targets the means of a batch are taken over: words, or actions inside the episode."""
    if batch.labels is not None:
        return int((batch.labels != IGNORED_LABEL).sum())
    return int((batch.mask[:, -1:] if newest_only else batch.mask).sum())
