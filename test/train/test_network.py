"""The network of training: what it scores, what is frozen in it, and what it may add."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import tiny_backbones
import torch
from reference import make_model
from tiny_clip import write_clip
from torch import Tensor, nn
from training_sets import make_dataset, make_source

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.config import TrainSetup
from robovlms_ros.model.discrete_prompt import IGNORED_LABEL
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.model.plugins import PLUGINS, register_auxiliary_head
from robovlms_ros.model.trainable import set_trainable
from robovlms_ros.policy.preprocess import ImagePreprocessor
from robovlms_ros.train.auxiliary import AuxiliaryHead, ClipNorm, StatePrediction, auxiliary_class
from robovlms_ros.train.batch import Batch, Collate
from robovlms_ros.train.losses import LossSettings
from robovlms_ros.train.network import TrainingNetwork
from robovlms_ros.train.order import SampleKey


def own_model(setup: dict[str, Any] | None = None, backbone: str = "kosmos", **changes: Any) -> BaseRoboVLM:
    model = copy.deepcopy(make_model(backbone, **changes))
    model.config = model.config.model_copy(update={"train_setup": TrainSetup(**setup or {})})
    set_trainable(model)
    return model


def network_of(model: BaseRoboVLM, **arguments: Any) -> TrainingNetwork:
    preprocess = ImagePreprocessor(model.config.image_size, model.image_mean, model.image_std)
    return TrainingNetwork(model, preprocess, **arguments)


def batch_of(model: BaseRoboVLM, windows: int = 2, **changes: Any) -> Batch:
    dataset = make_dataset(model, make_source(2, 5, ("static", "hand")), **changes)
    samples = [dataset[SampleKey(window, None)] for window in range(len(dataset))][-windows:]
    return Collate(model.tokenizer.pad_token_id, IGNORED_LABEL)(samples)


def test_a_video_model_is_scored_at_the_newest_step() -> None:
    model = make_model("kosmos", history_type="video")
    network, batch = network_of(model).eval(), batch_of(model, 1)
    output = network.predict(batch)
    assert output.pose.shape[1] == 1
    expected = model.act_head.loss(output, batch.pose[:, -1:], batch.gripper[:, -1:], batch.mask[:, -1:])  # type: ignore[index]
    assert network(batch)["loss_arm_act"] == expected.arm
    assert network.scored(batch) == int(batch.mask[:, -1].sum()) < int(batch.mask.sum())


def test_images_are_normalised_as_for_a_robot() -> None:
    model = make_model("kosmos")
    network, batch = network_of(model).eval(), batch_of(model)
    preprocess = ImagePreprocessor(model.config.image_size, model.image_mean, model.image_std)
    frames = [frame.permute(1, 2, 0).contiguous().numpy() for frame in batch.static[0]]
    assert torch.equal(network.images(batch.static)[0], preprocess(frames))


def test_history_and_state_reach_the_model() -> None:
    model = make_model("kosmos", act_encoder={"window": 2}, state_encoder={"arm_dim": 6})
    network, batch = network_of(model).eval(), batch_of(model)
    before = network.predict(batch).pose
    assert batch.history is not None
    assert batch.state is not None
    for changed in ({"history": batch.history + 0.5}, {"state": batch.state + 0.5}):
        assert not torch.allclose(network.predict(batch._replace(**changed)).pose, before, atol=1e-6)


def dropout_free(network: TrainingNetwork, batch: Batch) -> bool:
    first, second = (network(batch)["loss"] for _ in range(2))
    return bool(first == second)


@pytest.mark.parametrize("head", ["LSTMDecoder", "GPTDecoder"])
def test_dropout_can_be_switched_off_everywhere(head: str) -> None:
    model = own_model(head=head)
    batch = batch_of(model)
    torch.manual_seed(0)
    assert not dropout_free(network_of(model).train(), batch)
    without = network_of(model, dropout=False).train()
    assert dropout_free(without, batch)
    assert without(batch)["loss"].item() == pytest.approx(without.eval()(batch)["loss"].item(), abs=1e-6)


def test_a_frozen_image_path_stays_in_evaluation_mode_and_the_language_model_does_not() -> None:
    network = network_of(own_model()).train()
    vla = network.vla
    assert not any(module.training for module in vla.vision_tower.modules())
    assert vla.backbone.image_to_text_projection.training
    assert vla.text_tower.training
    frozen = network_of(own_model({"freeze_backbone": True})).train().vla
    assert not frozen.backbone.image_to_text_projection.training
    assert frozen.text_tower.training
    assert network_of(own_model({"train_vision": True})).train().vla.vision_tower.training


@pytest.mark.parametrize("pose", ["huber", "mse"])
def test_the_weight_of_the_gripper_is_the_one_given(pose: Any) -> None:
    model = make_model("kosmos")
    losses = network_of(model, loss=LossSettings(pose, 0.25)).eval()(batch_of(model))
    torch.testing.assert_close(losses["loss"], losses["loss_arm_act"] + 0.25 * losses["loss_gripper_act"])


def test_a_model_without_a_gripper_has_no_gripper_loss() -> None:
    model = make_model("kosmos", with_gripper=False, action_dim=6)
    batch = batch_of(model)
    assert batch.gripper is None
    losses = network_of(model).eval()(batch)
    assert losses.keys() == {"loss", "loss_arm_act", "action_l1"}


def test_other_losses_than_words_and_choices_are_refused_for_heads_that_have_only_these() -> None:
    table = [[0.0] * 7, [0.5] * 6 + [1.0]]
    choosing = make_model("kosmos", head="PredefinedDecoder", predefined_actions=table)
    discrete = make_model("kosmos", head="DiscreteDecoder", action_space="discrete", n_bin=16)
    for model, message in ((choosing, "trained to choose"), (discrete, "words alone")):
        with pytest.raises(ConfigError, match=message):
            network_of(model, loss=LossSettings("mse"))


def test_an_auxiliary_head_adds_its_weighted_loss_and_is_trained_through_the_features() -> None:
    model = own_model()
    head = StatePrediction.build(model)
    network = network_of(model, auxiliary={"where": (head, 0.5)}).train()
    batch = batch_of(model, states=True)
    losses = network(batch)
    alone = losses["loss_arm_act"] + 0.01 * losses["loss_gripper_act"]
    torch.testing.assert_close(losses["loss"], alone + 0.5 * losses["aux_where"])
    losses["aux_where"].backward()
    assert head.state.weight.grad is not None
    assert model.action_token.grad is not None
    assert model.action_token.grad.any()
    assert "auxiliary.where.state.weight" in network.state_dict()


class Constant(AuxiliaryHead):
    """A plugin's."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    @classmethod
    def build(cls, model: BaseRoboVLM, **options: Any) -> Constant:
        return cls(**options)

    def forward(self, features: Tensor, batch: Batch) -> Tensor:
        return self.value


def test_an_auxiliary_head_may_come_from_a_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PLUGINS, "_classes", {})
    register_auxiliary_head("constant")(Constant)
    model = make_model("kosmos")
    head = auxiliary_class("constant").build(model, value=2.0)
    assert network_of(model, auxiliary={"c": (head, 1.0)}).eval()(batch_of(model))["aux_c"] == 2
    with pytest.raises(ConfigError, match=r"no auxiliary head 'constnt'.*clip_norm, constant, privileged"):
        auxiliary_class("constnt")
    register_auxiliary_head("clip_norm")(Constant)
    with pytest.raises(ConfigError, match="rename it"):
        auxiliary_class("clip_norm")


def test_wrong_options_of_an_auxiliary_head_are_named() -> None:
    with pytest.raises(ConfigError, match="no option 'depth'"):
        StatePrediction.build(make_model("kosmos"), depth=3)
    with pytest.raises(ConfigError, match="needs the option 'folder'"):
        ClipNorm.build(make_model("kosmos"))


def test_clip_norm_pulls_the_action_tokens_and_keeps_clip_out_of_the_weights(tmp_path: Path) -> None:
    model = own_model()
    head = ClipNorm.build(model, folder=write_clip(tmp_path))
    network = network_of(model, auxiliary={"clip": (head, 0.05)}).train()
    losses = network(batch_of(model))
    losses["aux_clip"].backward()
    assert model.action_token.grad is not None
    assert {name for name in network.state_dict() if name.startswith("auxiliary.")} == {
        "auxiliary.clip.norm.lang_fc.weight",
        "auxiliary.clip.norm.lang_fc.bias",
    }


@pytest.mark.parametrize("backbone", ["paligemma2", "llava-llama", "llava-mpt", "qwenvl", "smolvlm", "flamingo"])
def test_dropout_can_be_switched_off_in_every_backbone(backbone: str) -> None:
    model = copy.deepcopy(tiny_backbones.make_model(backbone)).requires_grad_(True)
    dropouts = 0
    for module in model.backbone.modules():
        for name, value in vars(module).items():
            if isinstance(value, float) and ("dropout" in name or name == "config"):
                setattr(module, name, 0.3)
                dropouts += 1
    assert dropouts
    batch = batch_of(model)
    torch.manual_seed(0)
    assert not dropout_free(network_of(model).train(), batch)
    assert dropout_free(network_of(model, dropout=False).train(), batch)


def mixed(model: BaseRoboVLM) -> Batch:
    """Windows of two instructions of different lengths, in turn."""
    dataset = make_dataset(model, make_source(4, 3, ("static", "hand")))
    samples = [dataset[SampleKey(window, None)] for window in range(len(dataset))]
    batch = Collate(model.tokenizer.pad_token_id, IGNORED_LABEL)(samples)
    assert batch.lengths[0] != batch.lengths[1]
    return batch


HEADS: dict[str, dict[str, Any]] = {
    "post": {},
    "pre": {"history_type": "pre"},
    "video": {"history_type": "video"},
    "pooled": {"action_space": "down_sample", "down_sample": "pooling"},
}


@pytest.mark.parametrize("settings", HEADS.values(), ids=HEADS)
def test_a_window_is_answered_as_if_it_were_alone(settings: dict[str, Any]) -> None:
    model = make_model("kosmos", **settings)
    batch = mixed(model)
    together = network_of(model).eval().predict(batch)
    for row in range(len(batch.lengths)):
        alone = network_of(model).eval().predict(batch.rows([row]).by_length()[0][1])
        torch.testing.assert_close(together.pose[row], alone.pose[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(together.gripper[row], alone.gripper[0], atol=1e-5, rtol=0)  # type: ignore[index]
    short = batch.lengths.index(min(batch.lengths))
    padded = network_of(model, pad_prompts=True).eval().predict(batch)
    assert not torch.allclose(padded.pose[short], together.pose[short], atol=1e-4)


def test_words_are_scored_as_if_each_window_were_alone() -> None:
    model = make_model("kosmos", head="DiscreteDecoder", action_space="discrete", n_bin=16)
    batch, network = mixed(model), network_of(model).eval()
    rows = [batch.rows([row]) for row in range(len(batch.lengths))]
    counts = [network.scored(row) for row in rows]
    expected = sum(network(row)["loss"] * count for row, count in zip(rows, counts, strict=True)) / sum(counts)
    torch.testing.assert_close(network(batch)["loss"], expected, atol=1e-5, rtol=0)


def test_auxiliary_heads_see_features_in_the_order_of_the_batch() -> None:
    for settings in (HEADS["post"], HEADS["pooled"]):
        model = own_model(**settings)
        head = StatePrediction.build(model)
        batch = mixed(model)
        batch = batch._replace(state=torch.arange(4.0)[:, None, None].expand(4, 3, 7))
        network = network_of(model, auxiliary={"where": (head, 1.0)}).eval()
        alone = [network(batch.rows([row]))["aux_where"] for row in range(4)]
        torch.testing.assert_close(network(batch)["aux_where"], torch.stack(alone).mean(), atol=1e-5, rtol=0)
