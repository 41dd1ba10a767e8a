"""PaliGemma with an LSTM head gives upstream's numbers, and its networks are those of transformers."""

from __future__ import annotations

from pathlib import Path

import golden_cases
import numpy as np
import pytest
import torch
from reference import golden_model
from tiny_backbones import ACT, IMAGE, encode_cameras, images, make_model
from torch import Tensor

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.backbone.robopaligemma import RoboPaligemma
from robovlms_ros.model.old_names import translate_old_names
from robovlms_ros.model.policy_head.base_policy import ActionOutput
from robovlms_ros.model.registry import backbone_class
from robovlms_ros.policy import Observation, VLAPolicy
from robovlms_ros.policy.preprocess import ImagePreprocessor

GOLDEN = golden_cases.arrays("paligemma_lstm")
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def golden() -> BaseRoboVLM:
    return golden_model("paligemma_lstm")


def assert_close(actual: Tensor | np.ndarray, expected: np.ndarray, tolerance: float = TOLERANCE) -> None:
    np.testing.assert_allclose(np.asarray(actual), expected, rtol=0, atol=tolerance)


def joined(output: ActionOutput) -> Tensor:
    assert output.gripper is not None
    return torch.cat([output.pose, output.gripper.unsqueeze(-1)], dim=-1)


def stored_text(model: BaseRoboVLM) -> Tensor:
    # The tiny tokenizer gives other ids under transformers 5, so upstream's are used.
    return model.embed_text(torch.from_numpy(GOLDEN["text_ids"]))


def test_image_tokens_match(golden: BaseRoboVLM) -> None:
    features = golden.encode_images(golden_cases.images("rgb_q")[None, :1])
    assert_close(features, GOLDEN["image_features_0"])


def test_the_merged_sequence_matches(golden: BaseRoboVLM) -> None:
    sequence = golden.arrange(torch.from_numpy(GOLDEN["image_features_0"][0]), stored_text(golden))
    assert_close(sequence.embeddings, GOLDEN["embeds_step0"])
    assert sequence.mask is None
    assert GOLDEN["mask_step0"].all()


def test_rollout_matches_while_the_window_fills_and_slides(golden: BaseRoboVLM) -> None:
    memory, text = golden.init_state(), stored_text(golden)
    for step, image in enumerate(golden_cases.images("rgb_q")):
        memory, tokens = golden.observe(memory, golden.encode_images(image[None, None]), text)
        if f"rollout_hs_{step}" in GOLDEN:
            assert_close(tokens, GOLDEN[f"rollout_hs_{step}"][0])
        memory, output = golden.decide(memory, tokens)
        assert_close(joined(output), GOLDEN[f"rollout_action_{step}"][0])


def test_a_padded_batch_of_windows_and_its_losses_match(golden: BaseRoboVLM) -> None:
    text = [torch.from_numpy(GOLDEN[f"train_text_{name}"]) for name in ("ids", "mask")]
    output = golden(golden_cases.images("train_rgb_q"), *text)
    assert_close(joined(output), GOLDEN["train_pred"])
    chunk, mask = torch.from_numpy(GOLDEN["train_action_chunk"]), torch.from_numpy(GOLDEN["train_chunk_mask"])
    losses = golden.act_head.loss(output, chunk[..., :6], chunk[..., 6], mask)
    assert float(losses.arm) == pytest.approx(float(GOLDEN["train_out_loss_arm_act"]), abs=1e-6)
    assert float(losses.gripper) == pytest.approx(float(GOLDEN["train_out_loss_gripper_act"]), abs=1e-6)
    assert float(losses.gripper_accuracy) == pytest.approx(float(GOLDEN["train_out_acc_gripper_act"]), abs=1e-6)
    total = losses.arm + golden.config.arm_gripper_loss_ratio * losses.gripper
    assert float(total) == pytest.approx(float(GOLDEN["train_total_loss"]), abs=1e-6)


def test_preprocessing_is_exactly_siglips(golden: BaseRoboVLM) -> None:
    preprocess = ImagePreprocessor(28, golden.image_mean, golden.image_std, "exact")
    assert_close(preprocess([GOLDEN["raw_image"]]), GOLDEN["raw_image_x"], tolerance=1e-6)


def test_the_prompt_begins_with_the_end_token_and_ends_with_a_newline(golden: BaseRoboVLM) -> None:
    ids = golden.encode_text(" open the drawer ")[0]
    assert int(ids[0]) == golden.tokenizer.eos_token_id
    assert int(ids[-1]) == golden.tokenizer.convert_tokens_to_ids("\n")


def test_nothing_behind_a_token_changes_it(golden: BaseRoboVLM) -> None:
    # PaliGemma's own attention over image and prompt goes both ways.
    sequence = torch.randn(1, 9, golden.hidden_size, generator=torch.Generator().manual_seed(0))
    whole, part = golden.language_model(sequence, None), golden.language_model(sequence[:, :5], None)
    torch.testing.assert_close(whole[:, :5], part, rtol=0, atol=1e-5)
    padded = golden.language_model(sequence, torch.ones(1, 9, dtype=torch.bool))
    torch.testing.assert_close(padded, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["paligemma", "paligemma2"])
def test_the_networks_are_those_of_transformers(name: str) -> None:
    model = make_model(name)
    static, hand = images(2).split(1)
    ids = model.encode_text("pick up the red block")
    tokens = [*ids[0, :1], *[IMAGE] * 8, *ids[0, 1:-1], ACT]
    inputs = {"input_ids": torch.tensor([tokens]), "pixel_values": torch.cat([hand, static])}
    seen = model.fuse(encode_cameras(model, static, hand), model.embed_text(ids))
    expected = model.backbone.model(**inputs).last_hidden_state[:, -1:]
    torch.testing.assert_close(seen, expected, rtol=0, atol=1e-4)
    scores = model.backbone(**inputs).logits[:, -1:]
    torch.testing.assert_close(model.word_scores(seen), scores, rtol=0, atol=1e-4)


def test_upstreams_spelling_and_the_usual_one_mean_the_same() -> None:
    assert backbone_class("RoboPaligemma") is backbone_class("RoboPaliGemma") is RoboPaligemma


def test_old_names_are_translated_and_their_values_rounded_as_upstream_did() -> None:
    value = torch.tensor([1 + 2**-12, 3.0])
    old = {
        "backbone.language_model.model.norm.weight": value,
        "backbone.language_model.lm_head.weight": value,
        "backbone.vision_tower.vision_model.post_layernorm.bias": value,
        "backbone.multi_modal_projector.linear.bias": value,
        "action_token": value,
    }
    new = translate_old_names(RoboPaligemma, old)
    assert list(new) == [
        "backbone.model.language_model.norm.weight",
        "backbone.lm_head.weight",
        "backbone.model.vision_tower.post_layernorm.bias",
        "backbone.model.multi_modal_projector.linear.bias",
        "action_token",
    ]
    assert new["action_token"] is value
    for name in list(new)[:-1]:
        assert new[name].dtype == torch.float32
        assert new[name].tolist() == [1.0, 3.0]


def test_todays_names_keep_their_values_and_memory() -> None:
    today = {"backbone.model.language_model.norm.weight": torch.tensor([1 + 2**-12])}
    assert translate_old_names(RoboPaligemma, today) is today


def test_a_published_checkpoint_runs_with_siglips_preprocessing(golden: BaseRoboVLM, tmp_path: Path) -> None:
    checkpoint = tmp_path / "paligemma.pt"
    torch.save({"state_dict": golden_cases.state_dict("paligemma_lstm")}, checkpoint)
    policy = VLAPolicy.from_upstream(golden_cases.config_path("paligemma_lstm"), checkpoint, preprocess="exact")
    seen = policy.session().step(
        Observation(images={"static": GOLDEN["raw_image"]}, instruction="open the drawer")
    )
    images = golden.encode_images(torch.from_numpy(GOLDEN["raw_image_x"])[None])
    text = golden.embed_text(golden.encode_text("open the drawer"))
    memory, tokens = golden.observe(golden.init_state(), images, text)
    _, expected = golden.decide(memory, tokens)
    assert_close(seen.normalized[:, :6], expected.pose[0].numpy(), tolerance=1e-6)
