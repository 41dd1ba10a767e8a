"""Predictions and losses of windows are upstream's, by the way that training takes."""

from __future__ import annotations

from typing import Any

import golden_cases
import numpy as np
import pytest
import torch
from reference import golden_model
from torch import Tensor

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.policy.preprocess import ImagePreprocessor
from robovlms_ros.train.batch import Batch
from robovlms_ros.train.losses import LossSettings
from robovlms_ros.train.network import TrainingNetwork

# The golden resampler makes rounding errors of its input 200 times larger, as in test/model.
CONTINUOUS = {case: 1e-5 for case in golden_cases._golden.models if case != "kosmos_discrete"}
CONTINUOUS["kosmos_fc_resampler"] = 5e-5


def network_of(model: BaseRoboVLM) -> TrainingNetwork:
    preprocess = ImagePreprocessor(model.config.image_size, model.image_mean, model.image_std)
    return TrainingNetwork(model, preprocess, pad_prompts=True).eval()


def golden_batch(case: str) -> tuple[Batch, dict[str, Tensor]]:
    golden = {
        key: torch.from_numpy(np.asarray(value))
        for key, value in golden_cases.arrays(case).items()
        if key[:5] == "train"
    }
    images, chunk = golden_cases.images("train_rgb_q"), golden["train_action_chunk"]
    kind = "instr" if "train_instr_ids" in golden else "text"
    empty: Any = None
    batch = Batch(
        static=images,
        hand=None,
        ids=golden[f"train_{kind}_ids"],
        text_mask=golden[f"train_{kind}_mask"],
        lengths=[0, 0],
        labels=golden.get("train_instr_labels"),
        pose=chunk[..., :6],
        gripper=chunk[..., 6],
        mask=golden["train_chunk_mask"].bool(),
        history=empty,
        history_valid=empty,
        state=empty,
        instructions=["pick up the red block", "open the drawer"],
        episode=torch.arange(2),
        identifiers=["a", "b"],
        steps=torch.zeros(2, 4, dtype=torch.int64),
    )
    return batch, golden


@pytest.mark.parametrize(("case", "tolerance"), CONTINUOUS.items())
@torch.no_grad()
def test_predictions_and_losses_of_windows_match(case: str, tolerance: float) -> None:
    model = golden_model(case)
    network, (batch, golden) = network_of(model), golden_batch(case)
    output = network.predict(batch)
    assert output.gripper is not None
    joined = torch.cat([output.pose, output.gripper.unsqueeze(-1)], dim=-1)
    torch.testing.assert_close(joined, golden["train_pred"], atol=tolerance, rtol=0)
    losses = network(batch)
    expected = {
        "loss": "train_total_loss",
        "loss_arm_act": "train_out_loss_arm_act",
        "loss_gripper_act": "train_out_loss_gripper_act",
        "acc_gripper_act": "train_out_acc_gripper_act",
    }
    for name, key in expected.items():
        assert losses[name].item() == pytest.approx(golden[key].item(), abs=tolerance), name


@torch.no_grad()
def test_losses_of_words_match() -> None:
    network, (batch, golden) = network_of(golden_model("kosmos_discrete")), golden_batch("kosmos_discrete")
    losses = network(batch)
    assert losses["loss"].item() == pytest.approx(golden["train_total_loss"].item(), abs=1e-5)
    assert losses["loss_arm_act"].item() == pytest.approx(golden["train_out_loss_arm_act"].item(), abs=1e-5)
    assert losses["action_l1"].item() == pytest.approx(golden["train_out_action_l1_act"].item(), abs=1e-6)
    assert losses["acc_arm_act"].item() == golden["train_out_acc_arm_act"]
    assert losses["acc_gripper_act"].item() == golden["train_out_acc_gripper_act"]
    assert network.scored(batch) == int((golden["train_instr_labels"] != -100).sum())


@torch.no_grad()
def test_the_squared_error_is_the_mean_over_actions_that_exist() -> None:
    model = golden_model("kosmos_lstm")
    batch, golden = golden_batch("kosmos_lstm")
    preprocess = ImagePreprocessor(model.config.image_size, model.image_mean, model.image_std)
    losses = TrainingNetwork(model, preprocess, LossSettings("mse", 0.1), pad_prompts=True).eval()(batch)
    mask = golden["train_chunk_mask"].bool().numpy()
    wanted, found = golden["train_action_chunk"].numpy(), golden["train_pred"].numpy().astype(np.float64)
    arm = np.mean((found[..., :6] - wanted[..., :6])[mask] ** 2)
    probability = 1 / (1 + np.exp(-found[..., 6][mask]))
    target = wanted[..., 6][mask]
    gripper = -np.mean(target * np.log(probability) + (1 - target) * np.log(1 - probability))
    assert losses["loss_arm_act"].item() == pytest.approx(arm, abs=1e-5)
    assert losses["loss_gripper_act"].item() == pytest.approx(gripper, abs=1e-5)
    assert losses["loss"].item() == pytest.approx(arm + 0.1 * gripper, abs=1e-5)
    assert not mask.all()
