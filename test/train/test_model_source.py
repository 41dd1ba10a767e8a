"""Where a run's model comes from, and what is refused before anything is loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import golden_cases
import pytest
import torch
from reference import golden_model
from torch import Tensor
from training_sets import make_config, make_source, run_quietly

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.errors import ConfigError, ProfileError, WeightsError
from robovlms_ros.model.untrained import UntrainedModel, write_untrained
from robovlms_ros.policy.packed_model import HEAD_PREFIXES
from robovlms_ros.policy.packing import Source, pack
from robovlms_ros.train.config import ModelSection
from robovlms_ros.train.model_source import find_model, load_model, recompute_activations, reinitialise
from robovlms_ros.train.plan import make_plan


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> UntrainedModel:
    return write_untrained(tmp_path_factory.mktemp("untrained"), window=2, chunk=2, image_size=28)


@pytest.fixture(scope="module")
def packed(untrained: UntrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(Source(untrained.config, untrained.checkpoint), tmp_path_factory.mktemp("packed") / "model")


@pytest.fixture(scope="module")
def pretrained(untrained: UntrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The vision-language model of ``untrained`` as its own makers would publish it: a folder with weights."""
    folder = tmp_path_factory.mktemp("pretrained") / "vlm"
    section = ModelSection(config=untrained.config, weights=untrained.checkpoint)
    model = load_model(find_model(section, folder), 0)
    model.backbone.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return folder


def loaded(section: Mapping[str, Any], scratch: Path, seed: int = 0) -> BaseRoboVLM:
    return load_model(find_model(ModelSection.model_validate(section), scratch), seed)


def state(model: BaseRoboVLM) -> dict[str, Tensor]:
    return {name: weight.detach() for name, weight in model.named_parameters()}


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor], *prefixes: str) -> bool:
    names = [name for name in one if name.startswith(prefixes or ("",))]
    assert names
    return all(torch.equal(one[name], other[name]) for name in names)


def test_an_upstream_checkpoint_is_a_start(tmp_path: Path) -> None:
    torch.save({"state_dict": golden_cases.state_dict("kosmos_lstm")}, tmp_path / "published.pt")
    section = {
        "config": golden_cases.config_path("kosmos_lstm"),
        "vlm_dir": golden_cases.FOLDER,
        "weights": tmp_path / "published.pt",
    }
    assert same(state(loaded(section, tmp_path)), state(golden_model("kosmos_lstm")))


def test_a_packed_model_is_a_start(untrained: UntrainedModel, packed: Path, tmp_path: Path) -> None:
    first = loaded({"config": untrained.config, "weights": untrained.checkpoint}, tmp_path)
    assert same(state(loaded({"packed": packed}, tmp_path)), state(first))


def test_trained_weights_are_no_longer_those_of_the_file(packed: Path, tmp_path: Path) -> None:
    before = (packed / "model.safetensors").read_bytes()
    model = loaded({"packed": packed}, tmp_path)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(1.0)
    assert (packed / "model.safetensors").read_bytes() == before


def test_a_pretrained_vision_language_model_gets_a_new_head(
    untrained: UntrainedModel, pretrained: Path, tmp_path: Path
) -> None:
    section = {"config": untrained.config, "vlm_dir": pretrained}
    model, again, other = (state(loaded(section, tmp_path, seed)) for seed in (1, 1, 2))
    whole = state(loaded({"config": untrained.config, "weights": untrained.checkpoint}, tmp_path))
    assert same(model, whole, "backbone.")
    assert same(model, again)
    assert not same(model, other, "act_head.")
    assert not same(model, whole, "act_head.")
    assert not model["action_token"].any()


def test_without_load_vl_param_the_backbone_is_random_too(
    untrained: UntrainedModel, pretrained: Path, tmp_path: Path
) -> None:
    section = {"config": untrained.config, "vlm_dir": pretrained}
    section |= {"overrides": {"train_setup": {"load_vl_param": False}}}
    whole = state(loaded({"config": untrained.config, "weights": untrained.checkpoint}, tmp_path))
    # Not the seed with which that backbone was made.
    assert not same(state(loaded(section, tmp_path, seed=7)), whole, "backbone.text_model.model.layers")


def test_a_new_head_keeps_the_backbone(packed: Path, tmp_path: Path) -> None:
    overrides = {"act_head": {"type": "FCDecoder", "hidden_size": 32}, "fwd_pred_next_n": 5, "window_size": 3}
    model = loaded({"packed": packed, "new_head": True, "overrides": overrides}, tmp_path)
    assert same(state(model), state(loaded({"packed": packed}, tmp_path)), "backbone.")
    assert type(model.act_head).__name__ == "FCDecoder"
    assert any(name.startswith(HEAD_PREFIXES) for name in state(model))
    assert model.act_head.chunk_length == 5


def test_reinit_makes_xavier_matrices_and_no_biases(packed: Path, tmp_path: Path) -> None:
    model = loaded({"packed": packed, "overrides": {"train_setup": {"reinit": True}}}, tmp_path)
    linear = model.text_tower.layers[0].ffn.fc1
    bound = (6 / sum(linear.weight.shape)) ** 0.5
    assert linear.weight.abs().max() <= bound
    assert linear.weight.abs().max() > 0.9 * bound
    assert not linear.bias.any()
    # The policy head is not the backbone's.
    assert same(state(model), state(loaded({"packed": packed}, tmp_path)), "act_head.")
    norm = torch.nn.LayerNorm(3)
    reinitialise(norm)
    assert torch.equal(norm.weight, torch.ones(3))


def test_gradient_checkpointing_gives_the_same_gradients(packed: Path, tmp_path: Path) -> None:
    gradients, recomputed = [], []
    for checkpointing in (False, True):
        setup = {"train_vision": True, "gradient_checkpointing": checkpointing}
        model = loaded({"packed": packed, "overrides": {"train_setup": setup}}, tmp_path)
        recompute_activations(model)
        calls: list[int] = []
        model.text_tower.layers[0].ffn.fc1.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        torch.manual_seed(0)
        images, ids = torch.randn(1, 2, 3, 28, 28), model.encode_text("open the drawer")
        torch.manual_seed(0)
        model(images, ids).pose.sum().backward()
        gradients.append(
            {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
        )
        recomputed.append(len(calls))
    assert recomputed == [1, 2]
    assert all(torch.allclose(gradients[0][name], gradients[1][name], atol=1e-6) for name in gradients[0])


def test_adapters_are_put_into_a_start(packed: Path, tmp_path: Path) -> None:
    setup = {"lora_enable": True, "lora_r": 2}
    model = loaded({"packed": packed, "overrides": {"train_setup": setup}}, tmp_path)
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert any("lora_A" in name for name in trained)
    assert all("lora_" in name for name in trained if name.startswith("backbone."))


REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "a policy head that does not exist": (
        {"overrides": {"act_head": {"type": "LSTMDecodr"}}, "new_head": True},
        ConfigError,
        r"act_head\.type is 'LSTMDecodr'; this installation has .*LSTMDecoder",
    ),
    "a policy head that the packed model lacks": (
        {"policy_head": "drawers"},
        ConfigError,
        r"no policy head 'drawers'; it has LSTMDecoder",
    ),
    "another head than the weights are of": (
        {"overrides": {"act_head": {"type": "FCDecoder"}}},
        ConfigError,
        r"those of another policy head \(LSTMDecoder\); set model\.new_head",
    ),
    "a state that no recording has": (
        {"overrides": {"state_encoder": {"arm_dim": 3}}},
        ConfigError,
        "arm_dim is 3.*must be 6",
    ),
    "parts that do not go together": (
        {"overrides": {"act_head": {"action_space": "discrete"}}, "new_head": True},
        ConfigError,
        "a DiscreteDecoder needs 'discrete'",
    ),
}


@pytest.mark.parametrize(("section", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused_before_weights_are_read(
    packed: Path, tmp_path: Path, section: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        find_model(ModelSection.model_validate({"packed": packed} | section), tmp_path)


def test_files_that_are_not_there_are_named(untrained: UntrainedModel, tmp_path: Path) -> None:
    section = ModelSection(config=untrained.config, weights=tmp_path / "none.pt")
    with pytest.raises(ConfigError, match=r"model\.weights: checkpoint .*none\.pt does not exist"):
        find_model(section, tmp_path)
    with pytest.raises(ConfigError, match=r"no backbone in .*as vlm_dir"):
        find_model(ModelSection(config=untrained.config, vlm_dir=tmp_path / "none"), tmp_path)


def test_weights_of_another_shape_advise_a_new_head(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"act_head.*set model\.new_head to true"):
        loaded({"packed": packed, "overrides": {"fwd_pred_next_n": 5}}, tmp_path)


def test_a_vision_language_folder_without_weights_is_named(untrained: UntrainedModel, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be loaded as Kosmos2ForConditionalGeneration"):
        loaded({"config": untrained.config}, tmp_path)


PLANS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no such robot": ({"robot": "r2d2"}, ProfileError, "no robot profile 'r2d2'"),
    "another robot's frame": ({"robot": "widowx_bridge"}, ConfigError, "actions are in frame 'world'"),
    "a camera that was not recorded": (
        {"model": {"untrained": {"window": 2, "chunk": 2, "image_size": 28, "hand": True}}},
        ConfigError,
        "camera missing: 4 .*the model takes hand, there is static",
    ),
    "no such auxiliary head": (
        {"loss": {"auxiliary": [{"name": "depth", "weight": 1.0}]}},
        ConfigError,
        "no auxiliary head 'depth'",
    ),
    "a CLIP loss without its folder": (
        {"model": {"overrides": {"act_head": {"num_layers": 1}, "use_clip_norm": True}}},
        ConfigError,
        "says use_clip_norm: name the folder",
    ),
    "a step larger than the data": ({"optim": {"batch_size": 99}}, ConfigError, "there are 12 windows"),
    "everything held out": ({"data": {"validation_fraction": 0.99}}, ConfigError, "leaves none to train on"),
    "a window longer than the data": (
        {"model": {"untrained": {"window": 9, "chunk": 2, "image_size": 28}}},
        ConfigError,
        "shorter than the window of 9",
    ),
}


@pytest.mark.parametrize(("sections", "error", "message"), PLANS.values(), ids=PLANS)
def test_a_plan_that_cannot_work_is_refused_before_the_model_is_loaded(
    tmp_path: Path,
    sections: dict[str, Any],
    error: type[Exception],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("robovlms_ros.train.run.load_model", lambda *_: pytest.fail("the model was loaded"))
    with pytest.raises(error, match=message):
        run_quietly(make_config(tmp_path / "run", **sections))
    assert not (tmp_path / "run").exists()


def test_a_data_set_that_is_not_there_is_named(tmp_path: Path) -> None:
    from robovlms_ros.data.errors import DataError

    with pytest.raises(DataError, match="unused"):
        make_plan(make_config(tmp_path / "run"), tmp_path / "scratch")


def test_keys_left_out_take_the_value_of_the_model_s_configuration(
    untrained: UntrainedModel, tmp_path: Path
) -> None:
    raw = json.loads(untrained.config.read_text())
    raw |= {"learning_rate": 3e-4, "weight_decay": 0.1, "scheduler": "half-cosine", "min_lr_scale": 0.2}
    raw |= {"warmup_epochs": 0.5, "warmup_steps": 1, "batch_size": 3, "arm_gripper_loss_ratio": 0.03}
    raw |= {"trainer": {"accumulate_grad_batches": 2}}
    path = untrained.config.with_name("full.json")
    path.write_text(json.dumps(raw))
    section = {"config": path, "weights": untrained.checkpoint, "untrained": None, "new_head": False}
    config = make_config(tmp_path / "run", model=section | {"overrides": {}}, optim={"steps": None, "epochs": 4})
    optim = config.optim.model_copy(update={"batch_size": None, "learning_rate": None})
    config = config.model_copy(update={"optim": optim})
    plan = make_plan(config, tmp_path / "scratch", sources=[make_source(5, 4)])
    assert plan.order.per_step == 6
    assert plan.order.steps_per_epoch == 2
    assert plan.loop.steps == 8
    assert plan.loop.learning_rate == 3e-4
    assert plan.weight_decay == 0.1
    assert plan.loss.gripper_ratio == 0.03
    schedule = plan.loop.schedule
    assert (schedule.kind, schedule.total, schedule.warmup, schedule.min_scale) == ("half-cosine", 8, 2.0, 0.2)
