"""Kosmos-2 with an LSTM head gives upstream's numbers."""

from __future__ import annotations

import json
from pathlib import Path

import golden_cases
import numpy as np
import pytest
import torch
from torch import Tensor

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.config_reader import read_config
from robovlms_ros.model.errors import ConfigError, ObservationError
from robovlms_ros.model.policy_head.base_policy import ActionOutput
from robovlms_ros.model.vlm_builder import build_model, find_vlm_folder

GOLDEN = golden_cases.arrays("kosmos_lstm")
INSTRUCTION = "pick up the red block"
TOLERANCE = 1e-5


def joined(output: ActionOutput) -> np.ndarray:
    return torch.cat([output.pose, output.gripper.unsqueeze(-1)], dim=-1).numpy()


def assert_close(actual: Tensor | np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(np.asarray(actual), expected, rtol=0, atol=TOLERANCE)


def test_instruction_becomes_upstreams_token_ids(golden_kosmos: BaseRoboVLM) -> None:
    np.testing.assert_array_equal(golden_kosmos.encode_text(f"  {INSTRUCTION} "), GOLDEN["text_ids"])


def test_image_tokens_match(golden_kosmos: BaseRoboVLM) -> None:
    features = golden_kosmos.encode_images(golden_cases.images("rgb_q")[None, :1])
    assert_close(features, GOLDEN["image_features_0"])


def test_merged_sequence_and_mask_match(golden_kosmos: BaseRoboVLM) -> None:
    merged = golden_kosmos.arrange(
        torch.from_numpy(GOLDEN["image_features_0"][0]),
        golden_kosmos.embed_text(torch.from_numpy(GOLDEN["text_ids"])),
        torch.from_numpy(GOLDEN["text_mask"]),
    )
    assert_close(merged.embeddings, GOLDEN["embeds_step0"])
    np.testing.assert_array_equal(merged.mask, GOLDEN["mask_step0"])
    assert merged.action == slice(16, 17)


def test_mask_of_a_padded_batch_matches(golden_kosmos: BaseRoboVLM) -> None:
    ids, mask = (torch.from_numpy(GOLDEN[f"train_text_{name}"]) for name in ("ids", "mask"))
    text = golden_kosmos.embed_text(ids.repeat_interleave(4, dim=0))
    merged = golden_kosmos.arrange(torch.zeros(8, 4, 64), text, mask.repeat_interleave(4, dim=0))
    np.testing.assert_array_equal(merged.mask, GOLDEN["train_attn_mask"])


def test_rollout_matches_while_the_window_fills_and_slides(golden_kosmos: BaseRoboVLM) -> None:
    text = golden_kosmos.embed_text(golden_kosmos.encode_text(INSTRUCTION))
    state = golden_kosmos.act_head.init_state()
    for step, image in enumerate(golden_cases.images("rgb_q")):
        tokens = golden_kosmos.fuse(golden_kosmos.encode_images(image[None, None]), text)
        if f"rollout_hs_{step}" in GOLDEN:
            assert_close(tokens, GOLDEN[f"rollout_hs_{step}"][0])
        state, output = golden_kosmos.act_head.step(state, tokens)
        assert_close(joined(output), GOLDEN[f"rollout_action_{step}"][0])


def test_a_fresh_state_forgets_the_last_episode(golden_kosmos: BaseRoboVLM) -> None:
    text = golden_kosmos.embed_text(golden_kosmos.encode_text(INSTRUCTION))
    state = golden_kosmos.act_head.init_state()
    for step, frame in enumerate((5, 1)):
        image = golden_cases.images("rgb_q")[None, frame : frame + 1]
        state, output = golden_kosmos.act_head.step(
            state, golden_kosmos.fuse(golden_kosmos.encode_images(image), text)
        )
        assert_close(joined(output), GOLDEN[f"rollout2_action_{step}"][0])


def test_a_padded_batch_of_windows_and_its_losses_match(golden_kosmos: BaseRoboVLM) -> None:
    output = golden_kosmos(
        golden_cases.images("train_rgb_q"),
        torch.from_numpy(GOLDEN["train_text_ids"]),
        torch.from_numpy(GOLDEN["train_text_mask"]),
    )
    assert_close(joined(output), GOLDEN["train_pred"])
    chunk, mask = torch.from_numpy(GOLDEN["train_action_chunk"]), torch.from_numpy(GOLDEN["train_chunk_mask"])
    losses = golden_kosmos.act_head.loss(output, chunk[..., :6], chunk[..., 6], mask)
    assert float(losses.arm) == pytest.approx(float(GOLDEN["train_out_loss_arm_act"]), abs=1e-6)
    assert float(losses.gripper) == pytest.approx(float(GOLDEN["train_out_loss_gripper_act"]), abs=1e-6)
    assert float(losses.gripper_accuracy) == pytest.approx(float(GOLDEN["train_out_acc_gripper_act"]), abs=1e-6)


def test_the_hand_camera_stands_before_the_static_one(golden_kosmos: BaseRoboVLM) -> None:
    # Against a plain reference: every row of the sequence by hand, both cameras encoded apart, nothing left out.
    static, hand = golden_cases.images("rgb_q")[:1], golden_cases.images("hand_q")[:1]
    text = golden_kosmos.embed_text(torch.from_numpy(GOLDEN["text_ids"]))
    rows = [
        text[:, :1],
        golden_kosmos.image_features(hand),
        golden_kosmos.image_features(static),
        text[:, 1:-1],
        golden_kosmos.action_token.expand(1, 1, -1),
        text[:, -1:],
    ]
    sequence = torch.cat(rows, dim=1)
    expected = golden_kosmos.language_model(sequence, torch.ones(sequence.shape[:2]))[:, -2:-1]
    together = golden_kosmos.encode_images(torch.stack([hand, static], dim=1))
    assert_close(golden_kosmos.fuse(together, text), expected.numpy())


def test_full_size_model_has_exactly_upstreams_keys_and_shapes(tmp_path: Path) -> None:
    keys = json.loads((golden_cases.FOLDER / "kosmos2_full_lstm_state_dict_keys.json").read_text())
    folder = golden_cases.FOLDER / "vlm" / "kosmos2_tiny"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    # Kosmos2Config's defaults are the sizes of microsoft/kosmos-2-patch14-224.
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "kosmos-2"}))
    raw = json.loads(golden_cases.config_path("kosmos_lstm").read_text())
    raw |= {"image_size": 224, "window_size": 16, "fwd_pred_next_n": 10}
    raw["act_head"]["hidden_size"] = 1024
    path = tmp_path / "model.json"
    path.write_text(json.dumps(raw))
    model = build_model(read_config(path), tmp_path)
    assert {f"model.{key}": list(tensor.shape) for key, tensor in model.state_dict().items()} == keys


def test_the_position_table_never_grows(golden_kosmos: BaseRoboVLM) -> None:
    positions = golden_kosmos.text_tower.embed_positions
    before = positions.weights.data_ptr()
    longest = 2 * 4 + golden_kosmos.text_template.max_tokens + 1
    golden_kosmos.language_model(torch.zeros(1, longest, 64), None)
    assert positions.weights.data_ptr() == before


@pytest.mark.parametrize(
    ("instruction", "problem"),
    [("", "empty"), (" \t", "empty"), ("go <image> there", "control token"), ("pick " * 600, "at most 512")],
)
def test_unusable_instruction_is_refused(golden_kosmos: BaseRoboVLM, instruction: str, problem: str) -> None:
    with pytest.raises(ObservationError, match=problem):
        golden_kosmos.encode_text(instruction)


def test_another_backbones_folder_is_refused() -> None:
    config = read_config(golden_cases.config_path("kosmos_lstm"))
    with pytest.raises(ConfigError, match="describes a 'paligemma'"):
        build_model(config, golden_cases.FOLDER / "vlm" / "paligemma_tiny")


def test_image_size_of_another_backbone_is_refused() -> None:
    config = read_config(golden_cases.config_path("kosmos_lstm")).model_copy(update={"image_size": 224})
    with pytest.raises(ConfigError, match="set image_size"):
        build_model(config, find_vlm_folder(config, golden_cases.FOLDER))


def test_missing_backbone_folder_lists_where_it_was_sought(tmp_path: Path) -> None:
    config = read_config(golden_cases.config_path("kosmos_lstm"))
    with pytest.raises(ConfigError, match="vlm_dir") as error:
        find_vlm_folder(config, tmp_path)
    assert str(tmp_path / "vlm" / "kosmos2_tiny") in str(error.value)
