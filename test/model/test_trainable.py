"""Freezing rules, adapters, and gradients of everything that is trained."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import tiny_backbones
import torch
from reference import BACKBONES, Frame, decide, make_model
from torch import Tensor

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.config import TrainSetup
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.model.lora import merge_lora
from robovlms_ros.model.trainable import decoder_layers, set_trainable

EVERYTHING = {"train_vision": True, "train_text_embedding": True}


def trained(setup: dict[str, Any], backbone: str = "kosmos", **changes: Any) -> BaseRoboVLM:
    """A model of its own (the tests' backbones are shared), ready to train."""
    model = copy.deepcopy(make_model(backbone, **changes))
    model.config = model.config.model_copy(update={"train_setup": TrainSetup(**setup)})
    set_trainable(model)
    return model


def trainable(model: BaseRoboVLM) -> set[str]:
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


def below(model: BaseRoboVLM, part: Any) -> set[str]:
    inside = {id(weight) for weight in part.parameters()}
    return {name for name, weight in model.named_parameters() if id(weight) in inside}


def test_everything_can_be_trained() -> None:
    model = trained(EVERYTHING)
    # This backbone has an output layer of its own, which continuous actions do not use.
    assert {name for name, _ in model.named_parameters()} - trainable(model) == {
        "backbone.text_model.lm_head.weight"
    }


def test_by_default_the_image_encoder_and_the_text_embedding_are_frozen() -> None:
    model = trained({})
    frozen = {name for name, _ in model.named_parameters()} - trainable(model)
    output_layer = {"backbone.text_model.lm_head.weight"}
    assert frozen == below(model, model.vision_tower) | below(model, model.word_embedding) | output_layer


def test_a_frozen_backbone_leaves_the_rest() -> None:
    model = trained({"freeze_backbone": True}, use_vision_resampler=True, act_encoder={"window": 2})
    names = trainable(model)
    assert {name.split(".")[0] for name in names} == {
        "act_head",
        "action_token",
        "vision_resampler",
        "act_encoder",
    }
    frozen = trained({"freeze_backbone": True, "freeze_resampler": True}, use_vision_resampler=True)
    assert {name.split(".")[0] for name in trainable(frozen)} == {"act_head", "action_token"}


def test_a_frozen_backbone_may_have_a_trained_image_encoder_and_embedding() -> None:
    model = trained({"freeze_backbone": True} | EVERYTHING)
    expected = below(model, model.vision_tower) | below(model, model.word_embedding)
    assert {name for name in trainable(model) if name.startswith("backbone.")} == expected


@pytest.mark.parametrize("count", [0, 1, 2])
def test_only_the_last_layers_are_trained(count: int) -> None:
    model = trained({"train_decoder_layers": count})
    layers = decoder_layers(model)
    expected = set().union(*(below(model, layer) for layer in list(layers)[len(layers) - count :]))
    assert {name for name in trainable(model) if name.startswith("backbone.")} == expected


def flamingo(**setup: Any) -> BaseRoboVLM:
    model = copy.deepcopy(tiny_backbones.make_model("flamingo"))
    model.config = model.config.model_copy(update={"train_setup": TrainSetup(**setup)})
    set_trainable(model)
    return model


def test_a_flamingo_trains_its_cross_attention_and_what_is_asked_for() -> None:
    model = flamingo(train_resampler=False)
    gated = below(model, model.text_tower.gated_cross_attn_layers)
    inside = {name for name in trainable(model) if name.startswith("backbone.")}
    assert inside == gated
    perceiver = below(model, model.text_tower.perceiver_resampler)
    assert trainable(flamingo()) - trainable(model) == perceiver
    more = trainable(flamingo(train_full_decoder=True)) - trainable(flamingo())
    assert more == below(model, decoder_layers(model)) | below(model, model.text_tower.norm)
    assert not gated & trainable(flamingo(train_decoder_layers=0))
    assert not gated & trainable(flamingo(freeze_backbone=True))


def test_more_layers_than_there_are_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"train_decoder_layers is 9.*has 2 such layers"):
        trained({"train_decoder_layers": 9})


def batch(model: BaseRoboVLM) -> dict[str, Tensor]:
    torch.manual_seed(3)
    side = model.config.image_size
    ids = torch.cat([model.encode_text("open the drawer")] * 2)
    return {
        "static": torch.randn(2, 3, 3, side, side),
        "hand": torch.randn(2, 3, 3, side, side),
        "ids": ids,
        "text_mask": torch.ones_like(ids, dtype=torch.bool),
    }


def action_loss(model: BaseRoboVLM) -> Tensor:
    inputs: dict[str, Any] = batch(model)
    if model.config.state_encoder is not None:
        inputs["state"] = torch.rand(2, 3, model.config.state_encoder.arm_dim + 1)
        inputs["history"] = (torch.rand(2, 3, 2, 7), torch.ones(2, 3, 2, dtype=torch.bool))
    if model.discrete:
        answers = torch.from_numpy(model.act_head.action_tokenizer.encode(torch.rand(2, 3, 14) * 2 - 1))
        ids = inputs["ids"].unsqueeze(1).expand(2, 3, -1)
        inputs["labels"] = torch.cat([torch.full_like(ids, -100), answers], dim=2)
        inputs["ids"] = torch.cat([ids, answers], dim=2)
        inputs["text_mask"] = torch.ones_like(inputs["ids"], dtype=torch.bool)
        loss: Tensor = model(**inputs).arm
        return loss
    output = model(**inputs)
    pose, gripper = torch.rand_like(output.pose) * 2 - 1, torch.randint(2, output.pose.shape[:-1]).float()
    losses = model.act_head.loss(output, pose, gripper)
    total: Tensor = losses.arm + 0.01 * losses.gripper
    return total


HEADS: dict[str, dict[str, Any]] = {
    "lstm": {},
    "lstm-pre": {"history_type": "pre", "latent": 2},
    "gpt": {"head": "GPTDecoder"},
    "fc-video": {"head": "FCDecoder", "history_type": "video"},
    "pooled": {"action_space": "down_sample", "down_sample": "pooling"},
    "predefined": {"head": "PredefinedDecoder", "predefined_actions": [[0.0] * 7, [0.5] * 6 + [1.0]]},
    "discrete": {"head": "DiscreteDecoder", "action_space": "discrete", "n_bin": 16},
    "discrete-parallel": {
        "head": "DiscreteDecoder",
        "action_space": "discrete",
        "n_bin": 16,
        "parallel_decoding": True,
    },
    "all inputs": {
        "use_vision_resampler": True,
        "act_encoder": {"window": 2},
        "state_encoder": {"arm_dim": 3},
    },
}


@pytest.mark.parametrize("settings", HEADS.values(), ids=HEADS)
def test_every_trained_weight_has_a_finite_gradient(settings: dict[str, Any]) -> None:
    model = trained(EVERYTHING, **settings).train()
    action_loss(model).backward()
    without = {name for name, p in model.named_parameters() if p.requires_grad and p.grad is None}
    assert without == set()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_gradients_reach_the_image_encoder_and_the_text_of_every_backbone(backbone: str) -> None:
    model = trained(EVERYTHING, backbone)
    action_loss(model).backward()
    for part in (model.vision_tower, model.text_tower, model.act_head):
        gradients = [weight.grad for weight in part.parameters() if weight.grad is not None]
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert any(gradient.any() for gradient in gradients)
    assert model.word_embedding.weight.grad is not None
    assert model.action_token.grad is not None


def test_a_model_without_peft_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(ConfigError, match=r"robovlms_ros\[train\]"):
        trained({"lora_enable": True})


LORA = {"lora_enable": True, "lora_r": 2, "lora_alpha": 4}


def frame(model: BaseRoboVLM) -> Frame:
    torch.manual_seed(5)
    return Frame(*torch.randn(2, 3, model.config.image_size, model.config.image_size))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_adapters_train_alone_and_merge_into_the_plain_model(backbone: str) -> None:
    pytest.importorskip("peft")
    plain = make_model(backbone)
    ids = plain.encode_text("open the drawer")
    before = decide(plain, [frame(plain)], ids).pose
    model = trained(LORA, backbone)
    # Adapters start as zero.
    torch.testing.assert_close(decide(model.eval(), [frame(model)], ids).pose, before, atol=1e-6, rtol=0)
    names = {name for name in trainable(model) if name.startswith("backbone.")}
    assert names
    assert all("lora_" in name for name in names)
    optimizer = torch.optim.SGD([weight for weight in model.parameters() if weight.requires_grad], lr=0.5)
    for _ in range(2):
        action_loss(model).backward()
        assert all(weight.grad is not None for name, weight in model.named_parameters() if name in names)
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        adapted = decide(model, [frame(model)], ids).pose
        assert not torch.allclose(adapted, before, atol=1e-4)
        merge_lora(model.backbone)
        torch.testing.assert_close(decide(model, [frame(model)], ids).pose, adapted, atol=1e-5, rtol=0)
    assert model.state_dict().keys() == plain.state_dict().keys()


def test_adapters_are_in_the_image_encoder_only_where_that_is_trained() -> None:
    pytest.importorskip("peft")
    for vision in (False, True):
        model = trained(LORA | {"train_vision": vision})
        inside = {name for name in below(model, model.vision_tower) if "lora_" in name}
        assert bool(inside) == vision


def test_a_trained_text_embedding_stays_trained_under_adapters() -> None:
    pytest.importorskip("peft")
    model = trained(LORA | {"train_text_embedding": True})
    assert model.word_embedding.weight.requires_grad
