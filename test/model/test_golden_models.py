"""Whole models with every policy head and history type give upstream's numbers."""

from __future__ import annotations

import golden_cases
import numpy as np
import pytest
import torch
from reference import golden_model

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM, EpisodeState
from robovlms_ros.model.policy_head.base_policy import ActionOutput
from robovlms_ros.model.policy_head.discrete import decode_tokens

# The golden resampler makes rounding errors of its input 200 times larger (see test_vision_resampler.py).
CASES = [
    ("kosmos_lstm", 1e-5),
    ("kosmos_fc", 1e-5),
    ("kosmos_fc_resampler", 5e-5),
    ("kosmos_gpt", 1e-5),
    ("kosmos_lstm_pool_all", 1e-5),
    ("kosmos_lstm_pool_vision", 1e-5),
    ("kosmos_lstm_pre", 1e-5),
]
cases = pytest.mark.parametrize(("case", "tolerance"), CASES)


def joined(output: ActionOutput) -> np.ndarray:
    assert output.gripper is not None
    return torch.cat([output.pose, output.gripper.unsqueeze(-1)], dim=-1).numpy()


def look(
    model: BaseRoboVLM, memory: EpisodeState, frame: int, ids: np.ndarray
) -> tuple[EpisodeState, torch.Tensor, ActionOutput]:
    images = model.encode_images(golden_cases.images("rgb_q")[None, frame : frame + 1])
    memory, tokens = model.observe(memory, images, model.embed_text(torch.from_numpy(ids)))
    memory, output = model.decide(memory, tokens)
    return memory, tokens, output


@cases
def test_rollouts_match_while_the_window_fills_and_slides(case: str, tolerance: float) -> None:
    golden, model = golden_cases.arrays(case), golden_model(case)
    memory = model.init_state()
    for step in range(7):
        memory, tokens, output = look(model, memory, step, golden["text_ids"])
        # With `pre` history upstream answers for every frame; the newest is the last.
        expected = golden[f"rollout_action_{step}"][:, -1]
        np.testing.assert_allclose(joined(output), expected, atol=tolerance, rtol=0)
        if f"rollout_hs_{step}" in golden and model.head_config.action_space == "continuous":
            hidden = golden[f"rollout_hs_{step}"]
            np.testing.assert_allclose(tokens.view(hidden.shape), hidden, atol=tolerance, rtol=0)


@cases
def test_a_second_episode_starts_from_nothing(case: str, tolerance: float) -> None:
    golden, model = golden_cases.arrays(case), golden_model(case)
    memory = model.init_state()
    for step, frame in enumerate((5, 1)):
        memory, _, output = look(model, memory, frame, golden["text_ids"])
        expected = golden[f"rollout2_action_{step}"][:, -1]
        np.testing.assert_allclose(joined(output), expected, atol=tolerance, rtol=0)


@cases
def test_a_padded_batch_of_windows_and_its_losses_match(case: str, tolerance: float) -> None:
    golden = {key: torch.from_numpy(value) for key, value in golden_cases.arrays(case).items()}
    model = golden_model(case)
    output = model(golden_cases.images("train_rgb_q"), golden["train_text_ids"], golden["train_text_mask"])
    np.testing.assert_allclose(joined(output), golden["train_pred"], atol=tolerance, rtol=0)
    chunk = golden["train_action_chunk"]
    losses = model.act_head.loss(output, chunk[..., :6], chunk[..., 6], golden["train_chunk_mask"])
    assert losses.arm.item() == pytest.approx(golden["train_out_loss_arm_act"].item(), abs=tolerance)
    assert losses.gripper.item() == pytest.approx(golden["train_out_loss_gripper_act"].item(), abs=tolerance)
    assert losses.gripper_accuracy.item() == pytest.approx(golden["train_out_acc_gripper_act"].item(), abs=1e-6)
    total = losses.arm + model.config.arm_gripper_loss_ratio * losses.gripper
    assert total.item() == pytest.approx(golden["train_total_loss"].item(), abs=tolerance)


@pytest.mark.parametrize("case", ["kosmos_fc_resampler", "kosmos_lstm_pool_all", "kosmos_lstm_pre"])
def test_merged_sequences_and_masks_match(case: str) -> None:
    golden, model = golden_cases.arrays(case), golden_model(case)
    ids, mask = (torch.from_numpy(golden[f"text_{name}"]) for name in ("ids", "mask"))
    images = torch.from_numpy(golden["image_features_0"][0])
    sequence = model.arrange(images, model.embed_text(ids), mask)
    np.testing.assert_allclose(sequence.embeddings, golden["embeds_step0"], atol=1e-5, rtol=0)
    assert sequence.mask is not None
    np.testing.assert_array_equal(sequence.mask, golden["mask_step0"])


@pytest.mark.parametrize("step", [0, 1, 2])
def test_discrete_answers_match(step: int) -> None:
    golden, model = golden_cases.arrays("kosmos_discrete"), golden_model("kosmos_discrete")
    prompt = golden["text_ids"][:, :-1]
    _, tokens, output = look(model, model.init_state(), step, prompt)
    np.testing.assert_array_equal(joined(output)[0], golden["rollout_action"][step].astype(np.float32))
    images = model.encode_images(golden_cases.images("rgb_q")[None, step : step + 1])
    prefix = model.arrange(images.flatten(1, 2), model.embed_text(torch.from_numpy(prompt))).embeddings
    found = decode_tokens(model.language_model, model.word_scores, model.embed_text, prefix, 7)
    assert torch.equal(found.ids, tokens)
    # Logits here reach 34, where float32 is exact to 4e-6; AVX-512 sums differ by 2.9e-5.
    np.testing.assert_allclose(found.logits[0], golden["rollout_logits"][step], atol=5e-5, rtol=0)


def test_the_discrete_prompt_matches() -> None:
    ids = golden_model("kosmos_discrete").encode_text("pick up the red block")
    np.testing.assert_array_equal(ids, golden_cases.arrays("wrappers")["calvin_discrete__text"])


def test_discrete_training_losses_match() -> None:
    golden, model = golden_cases.arrays("kosmos_discrete"), golden_model("kosmos_discrete")
    ids, labels, mask = (torch.from_numpy(golden[f"train_instr_{name}"]) for name in ("ids", "labels", "mask"))
    losses = model(golden_cases.images("train_rgb_q"), ids, mask, labels=labels)
    assert losses.arm.item() == pytest.approx(float(golden["train_total_loss"]), abs=1e-5)
    assert losses.action_l1.item() == pytest.approx(float(golden["train_out_action_l1_act"]), abs=1e-6)
    assert losses.arm_accuracy.item() == golden["train_out_acc_arm_act"]
    assert losses.gripper_accuracy.item() == golden["train_out_acc_gripper_act"]
