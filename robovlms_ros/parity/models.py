"""Model cases: preprocessed images and token ids in, image tokens, sequences, chunks and losses out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM, EpisodeState
from robovlms_ros.model.config_reader import read_config
from robovlms_ros.model.policy_head.base_policy import ActionOutput
from robovlms_ros.model.policy_head.discrete import decode_tokens
from robovlms_ros.model.vlm_builder import build_model, find_vlm_folder
from robovlms_ros.model.weights import assign_weights
from robovlms_ros.parity.comparison import TOLERANCE, Comparison
from robovlms_ros.parity.golden import GoldenFolder
from robovlms_ros.policy.preprocess import ImagePreprocessor

INSTRUCTION = "pick up the red block"
# The golden resampler makes rounding errors of its input 200 times larger; scores of the discrete model reach 34,
# where float32 is exact to 4e-6; sums in the order of AVX-512 differ by 2.9e-5.
_WIDER = {"kosmos_fc_resampler": 5e-5}
_SCORES = 5e-5


def golden_model(golden: GoldenFolder, case: str) -> BaseRoboVLM:
    """A case's model, loaded the way a checkpoint is: built on the meta device, then assigned."""
    config = read_config(golden.config_path(case))
    model = build_model(config, find_vlm_folder(config, golden.path))
    tensors = {key.removeprefix("model."): value for key, value in golden.state_dict(case).items()}
    assign_weights(model, tensors, torch.float32, f"weights of {case}")
    return model.requires_grad_(False)


@torch.inference_mode()
def compare_model(golden: GoldenFolder, case: str) -> Comparison:
    """Everything that upstream stored of one model case."""
    model, values = golden_model(golden, case), golden.arrays(case)
    found, allowed = Comparison(case), _WIDER.get(case, TOLERANCE)
    images = golden.images("rgb_q")
    found.close("image tokens", model.encode_images(images[None, :1]), values["image_features_0"], allowed)
    if "raw_image" in values:
        exact = ImagePreprocessor(model.config.image_size, model.image_mean, model.image_std, "exact")
        found.close("preprocessing", exact([values["raw_image"]]), values["raw_image_x"])
    if model.discrete:
        _compare_answers(found, model, values, images)
        _compare_token_losses(found, model, values, golden.images("train_rgb_q"))
    else:
        _compare_sequence(found, model, values)
        _compare_rollout(found, model, values, images, allowed)
        _compare_windows(found, model, values, golden.images("train_rgb_q"), allowed)
    return found


def _compare_sequence(found: Comparison, model: BaseRoboVLM, values: Any) -> None:
    ids, mask = (torch.from_numpy(values[f"text_{name}"]) for name in ("ids", "mask"))
    tokens = torch.from_numpy(values["image_features_0"][0])
    sequence = model.arrange(tokens, model.embed_text(ids), mask)
    found.close("sequence", sequence.embeddings, values["embeds_step0"])
    assert sequence.mask is not None
    found.equal("mask", sequence.mask, values["mask_step0"])


def _compare_rollout(found: Comparison, model: BaseRoboVLM, values: Any, images: Tensor, allowed: float) -> None:
    memory = model.init_state()
    for frame in range(len(images)):
        memory, tokens, output = _look(model, memory, images[frame], values["text_ids"])
        # With `pre` history upstream answers for every frame; the newest is the last.
        found.close("rollout", _joined(output), values[f"rollout_action_{frame}"][:, -1], allowed)
        hidden = values.get(f"rollout_hs_{frame}")
        if hidden is not None and model.head_config.action_space == "continuous":
            found.close("hidden states", tokens.view(hidden.shape), hidden, allowed)
    memory = model.init_state()
    for step, frame in enumerate((5, 1)):
        if f"rollout2_action_{step}" in values:
            memory, _, output = _look(model, memory, images[frame], values["text_ids"])
            found.close("second episode", _joined(output), values[f"rollout2_action_{step}"][:, -1], allowed)


def _compare_windows(found: Comparison, model: BaseRoboVLM, values: Any, images: Tensor, allowed: float) -> None:
    golden = {key: torch.from_numpy(value) for key, value in values.items() if key.startswith("train_")}
    ids, mask = golden["train_text_ids"], golden["train_text_mask"]
    output = model(images, ids, mask)
    found.close("training windows", _joined(output), values["train_pred"], allowed)
    if "train_attn_mask" in values:
        window = images.shape[1]
        blank = torch.zeros(len(images) * window, values["image_features_0"].shape[-2], model.hidden_size)
        text = model.embed_text(ids).repeat_interleave(window, dim=0)
        sequence = model.arrange(blank, text, mask.repeat_interleave(window, dim=0))
        assert sequence.mask is not None
        expected = values["train_attn_mask"]
        found.equal("padded masks", sequence.mask.reshape(expected.shape), expected)
    chunk = golden["train_action_chunk"]
    losses = model.act_head.loss(output, chunk[..., :6], chunk[..., 6], golden["train_chunk_mask"])
    found.close("losses", losses.arm, values["train_out_loss_arm_act"], allowed)
    found.close("losses", losses.gripper, values["train_out_loss_gripper_act"], allowed)
    found.close("losses", losses.gripper_accuracy, values["train_out_acc_gripper_act"], allowed)
    total = losses.arm + model.config.arm_gripper_loss_ratio * losses.gripper
    found.close("losses", total, values["train_total_loss"], allowed)


def _compare_answers(found: Comparison, model: BaseRoboVLM, values: Any, images: Tensor) -> None:
    prompt = values["text_ids"][:, :-1]
    words = model.act_head.action_tokenizer
    found.equal("action tokens", words.encode(values["enc_in"]), values["enc_ids"])
    found.equal("action tokens", words.decode(values["enc_ids"]), values["dec_out"])
    found.equal("action tokens", words.decode(values["dec_all_ids"]), values["dec_all"])
    for step, expected in enumerate(values["rollout_action"]):
        _, tokens, output = _look(model, model.init_state(), images[step], prompt)
        found.equal("answers", _joined(output)[0], expected.astype(np.float32))
        encoded = model.encode_images(images[None, step : step + 1]).flatten(1, 2)
        prefix = model.arrange(encoded, model.embed_text(torch.from_numpy(prompt))).embeddings
        decoded = decode_tokens(model.language_model, model.word_scores, model.embed_text, prefix, 7)
        found.equal("answers", decoded.ids, tokens)
        found.close("scores of tokens", decoded.logits[0], values["rollout_logits"][step], _SCORES)


def _compare_token_losses(found: Comparison, model: BaseRoboVLM, values: Any, images: Tensor) -> None:
    ids, labels, mask = (torch.from_numpy(values[f"train_instr_{name}"]) for name in ("ids", "labels", "mask"))
    losses = model(images, ids, mask, labels=labels)
    found.close("losses", losses.arm, values["train_total_loss"])
    found.close("losses", losses.action_l1, values["train_out_action_l1_act"])
    found.close("losses", losses.arm_accuracy, values["train_out_acc_arm_act"])
    found.close("losses", losses.gripper_accuracy, values["train_out_acc_gripper_act"])


def _look(
    model: BaseRoboVLM, memory: EpisodeState, image: Tensor, ids: NDArray[np.int64]
) -> tuple[EpisodeState, Tensor, ActionOutput]:
    encoded = model.encode_images(image[None, None])
    memory, tokens = model.observe(memory, encoded, model.embed_text(torch.from_numpy(ids)))
    memory, output = model.decide(memory, tokens)
    return memory, tokens, output


def _joined(output: ActionOutput) -> NDArray[np.float32]:
    assert output.gripper is not None
    joined: NDArray[np.float32] = torch.cat([output.pose, output.gripper.unsqueeze(-1)], dim=-1).numpy()
    return joined
