"""Assigning weights: nothing missing, nothing left over, and the message says which."""

from __future__ import annotations

import golden_cases
import pytest
import torch
from torch import Tensor

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.config_reader import parse_config, read_config
from robovlms_ros.model.errors import WeightsError
from robovlms_ros.model.vlm_builder import build_model, find_vlm_folder
from robovlms_ros.model.weights import assign_weights

HEAD = "act_head.rnn.weight_ih_l0"
LM_HEAD = "backbone.text_model.lm_head.weight"
EMBEDDING = "backbone.text_model.model.embed_tokens.weight"


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    return {key.removeprefix("model."): value for key, value in golden_cases.state_dict("kosmos_lstm").items()}


def empty_model(**overrides: object) -> BaseRoboVLM:
    config = read_config(golden_cases.config_path("kosmos_lstm"))
    config = parse_config(config.model_dump(exclude_none=True) | overrides)
    return build_model(config, find_vlm_folder(config, golden_cases.FOLDER))


def assign(tensors: dict[str, Tensor], **overrides: object) -> BaseRoboVLM:
    model = empty_model(**overrides)
    assign_weights(model, tensors, torch.float32, "file.pt")
    return model


def test_building_allocates_no_weight() -> None:
    assert all(parameter.is_meta for parameter in empty_model().parameters())


def test_weights_are_taken_without_a_copy_and_nothing_stays_on_meta(tensors: dict[str, Tensor]) -> None:
    model = assign(tensors)
    assert model.state_dict()[HEAD].data_ptr() == tensors[HEAD].data_ptr()
    assert not any(tensor.is_meta for tensor in [*model.parameters(), *model.buffers()])
    assert model.state_dict()[LM_HEAD].data_ptr() == model.state_dict()[EMBEDDING].data_ptr()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_everything_is_cast(tensors: dict[str, Tensor], dtype: torch.dtype) -> None:
    model = empty_model()
    assign_weights(model, tensors, dtype, "file.pt")
    floating = [tensor for tensor in [*model.parameters(), *model.buffers()] if tensor.is_floating_point()]
    assert {tensor.dtype for tensor in floating} == {dtype}


@pytest.mark.fault(14)
def test_missing_and_left_over_weights_are_listed(tensors: dict[str, Tensor]) -> None:
    del tensors[HEAD]
    tensors["act_head.fc.weight"] = torch.ones(2)
    with pytest.raises(WeightsError, match=rf"missing: {HEAD}; left over: act_head\.fc\.weight"):
        assign(tensors)


@pytest.mark.fault(14)
def test_a_checkpoint_without_policy_head_says_so(tensors: dict[str, Tensor]) -> None:
    backbone = {key: value for key, value in tensors.items() if not key.startswith("act_head")}
    with pytest.raises(WeightsError, match="no policy head"):
        assign(backbone)


@pytest.mark.fault(14)
def test_a_wrong_shape_names_the_weight_and_both_shapes(tensors: dict[str, Tensor]) -> None:
    with pytest.raises(WeightsError, match=r"act_head\.actions\.mlp\.6\.weight is \[18, 256\].* \[30, 256\]"):
        assign(tensors, fwd_pred_next_n=5)


def test_a_nan_names_the_weight(tensors: dict[str, Tensor]) -> None:
    tensors[HEAD] = tensors[HEAD].clone()
    tensors[HEAD][0, 0] = float("nan")
    with pytest.raises(WeightsError, match=f"NaN or infinity in {HEAD}"):
        assign(tensors)


def test_the_tied_output_layer_may_be_absent(tensors: dict[str, Tensor]) -> None:
    del tensors[LM_HEAD]
    assert torch.equal(assign(tensors).state_dict()[LM_HEAD], tensors[EMBEDDING])


def test_a_tied_layer_that_differs_is_refused(tensors: dict[str, Tensor]) -> None:
    tensors[LM_HEAD] = tensors[LM_HEAD] + 1
    with pytest.raises(WeightsError, match="tie_word_embeddings"):
        assign(tensors)


def test_training_only_modules_are_ignored(tensors: dict[str, Tensor]) -> None:
    assign(tensors | {"clip_norm_head.lang_fc.weight": torch.ones(2)})


def test_an_action_encoder_without_weights_is_refused(tensors: dict[str, Tensor]) -> None:
    with pytest.raises(WeightsError, match=r"no action encoder.*'act_encoder' to null"):
        assign(tensors, act_encoder={"window": 4})


def test_action_encoder_weights_without_configuration_are_left_over(tensors: dict[str, Tensor]) -> None:
    with pytest.raises(WeightsError, match=r"left over: act_encoder\.arm_mlp\.weight"):
        assign(tensors | {"act_encoder.arm_mlp.weight": torch.ones(2)})


def test_a_refused_checkpoint_leaves_nothing_half_loaded(tensors: dict[str, Tensor]) -> None:
    for name, value in ((HEAD, torch.full_like(tensors[HEAD], float("nan"))), ("act_head.x", torch.ones(1))):
        model = empty_model()
        with pytest.raises(WeightsError):
            assign_weights(model, tensors | {name: value}, torch.float32, "file.pt")
        assert all(parameter.is_meta for parameter in model.parameters())


def test_a_number_too_large_for_half_precision_is_refused(tensors: dict[str, Tensor]) -> None:
    tensors[HEAD] = tensors[HEAD] + 1e6
    with pytest.raises(WeightsError, match=rf"{HEAD}.*bfloat16 if it is only float16"):
        assign_weights(empty_model(), tensors, torch.float16, "file.pt")
    assign_weights(empty_model(), tensors, torch.bfloat16, "file.pt")


@pytest.mark.fault(14)
def test_weights_of_another_backbone_say_so() -> None:
    other = {key.removeprefix("model."): value for key, value in golden_cases.state_dict("paligemma_lstm").items()}
    with pytest.raises(
        WeightsError, match=r"another backbone than RoboKosMos: of its \d+ tensors 0 are there, but"
    ):
        assign(other)


def test_a_policy_head_alone_says_what_is_missing(tensors: dict[str, Tensor]) -> None:
    head = {key: value for key, value in tensors.items() if not key.startswith("backbone.")}
    with pytest.raises(WeightsError, match=r"no backbone \(no backbone\.\* tensors\)"):
        assign(head)


@pytest.mark.parametrize("second_name", ["model.", "model.base_model.model."])
def test_a_second_name_of_the_backbone_is_dropped(tensors: dict[str, Tensor], second_name: str) -> None:
    # Upstream registers it again, under LoRA and for Flamingo.
    again = {
        second_name + key.removeprefix("backbone."): value
        for key, value in tensors.items()
        if key.startswith("backbone.")
    }
    assign(tensors | again)
    with pytest.raises(WeightsError, match=r"left over: model\.x"):
        assign(tensors | {"model.x": torch.ones(1)})


def test_gpt2_buffers_are_accepted_and_ignored(tensors: dict[str, Tensor]) -> None:
    layer = "act_head.gpt.h.0.attn"
    buffers = {f"{layer}.bias": torch.ones(1, 1, 4, 4), f"{layer}.masked_bias": torch.ones(1)}
    assign(tensors | buffers)
    with pytest.raises(WeightsError, match=r"left over: act_head\.gpt\.h\.0\.attn\.c_attn\.bias"):
        assign(tensors | buffers | {f"{layer}.c_attn.bias": torch.ones(1)})
