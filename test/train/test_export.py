"""What ``robovlms pack`` takes of a run: the model that was trained, with its adapters in its weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from training_sets import CALVIN, make_config, make_source, run_quietly

pytest.importorskip("peft")
from robovlms_ros.cli.pack import pack
from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.checkpoint import read_checkpoint
from robovlms_ros.policy import Observation, VLAPolicy
from robovlms_ros.policy.untrained import make_untrained
from robovlms_ros.train.checkpoints import CheckpointError
from robovlms_ros.train.export import exported, trained_model
from robovlms_ros.train.run_folder import RunFolder

ADAPTERS = {"lora_enable": True, "lora_r": 2, "lora_alpha": 8, "lora_dropout": 0.0}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Adapters and a policy head, trained hard enough to be no longer what they were."""
    output = tmp_path_factory.mktemp("runs") / "adapted"
    overrides = {"act_head": {"num_layers": 1}, "train_setup": ADAPTERS}
    config = make_config(
        output,
        model={"overrides": overrides},
        optim={"steps": 6, "learning_rate": 0.02},
        checkpoints={"every": 3, "keep_last": 2},
    )
    run_quietly(config)
    return output


def features(model: BaseRoboVLM) -> torch.Tensor:
    torch.manual_seed(0)
    images, ids = torch.randn(1, 2, 3, 28, 28), model.encode_text("open the drawer")
    with torch.no_grad():
        return model.read_windows(images, ids)


def test_merged_adapters_give_what_adapters_gave(run: Path) -> None:
    folder = RunFolder.open(run)
    adapted = folder.load_model(folder.checkpoints().find("last")).eval()
    merged = trained_model(run, "last")
    names = [name for name, _ in merged.named_parameters()]
    assert not any("lora" in name or "base_layer" in name for name in names)
    assert any("lora" in name for name, _ in adapted.named_parameters())
    torch.testing.assert_close(features(merged), features(adapted), atol=2e-5, rtol=1e-5)
    # They do something: without them the answer is another one.
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            weight.data.zero_()
    assert (features(merged) - features(adapted)).abs().max() > 1e-3


def test_what_is_exported_has_the_plain_names_and_is_gone_afterwards(run: Path, tmp_path: Path) -> None:
    with exported(run, "last", tmp_path / "scratch") as source:
        names = set(read_checkpoint(source.checkpoint))
        assert source.checkpoint.is_file()
    assert "backbone.text_model.model.layers.0.self_attn.q_proj.weight" in names
    assert not any("lora" in name for name in names)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_packed_run_answers_as_its_model(run: Path, tmp_path: Path) -> None:
    pack(run, tmp_path / "model", None, None, None, "float32", "last", [], False)
    policy = VLAPolicy.load(tmp_path / "model")
    assert policy.profile.name == CALVIN.name
    image = make_source(1, 2).episodes[0].image("static", 0)
    chunk = policy.session().step(Observation({"static": image}, "open the drawer"))
    model = trained_model(run, "last")
    with torch.no_grad():
        pixels = policy_pixels(model, image)
        output = model.act_head(model.read_windows(pixels, model.encode_text("open the drawer")))
    np.testing.assert_allclose(chunk.normalized[:, :6], output.pose[0, -1], atol=1e-5)


def policy_pixels(model: BaseRoboVLM, image: np.ndarray) -> torch.Tensor:
    from robovlms_ros.policy.preprocess import ImagePreprocessor

    preprocess = ImagePreprocessor(model.config.image_size, model.image_mean, model.image_std)
    return preprocess([image]).unsqueeze(0)


def test_checkpoints_differ_and_one_that_is_not_there_is_named(run: Path) -> None:
    assert not torch.equal(features(trained_model(run, "3")), features(trained_model(run, "6")))
    with pytest.raises(CheckpointError, match="no checkpoint '5'; it has 3, 6"):
        trained_model(run, "5")


def test_heads_trained_on_one_frozen_backbone_are_packed_beside_each_other(tmp_path: Path) -> None:
    make_untrained(tmp_path / "base", window=2, chunk=2, image_size=28)
    frozen = {"freeze_backbone": True}
    sections = {
        "cups": {"overrides": {"train_setup": frozen}},
        "drawers": {"overrides": {"train_setup": frozen, "act_head": {"type": "FCDecoder"}}, "new_head": True},
    }
    for name, section in sections.items():
        model = {"untrained": None, "packed": str(tmp_path / "base"), "new_head": False, "overrides": {}}
        run_quietly(make_config(tmp_path / name, model=model | section, optim={"steps": 1}))
    pack(
        *(tmp_path / "cups", tmp_path / "model", None, None, None, "float32", "last"),
        [f"drawers={tmp_path / 'drawers'}"],
        False,
    )
    image = make_source(1, 2).episodes[0].image("static", 0)
    chunks = []
    for head in ("", "drawers"):
        policy = VLAPolicy.load(tmp_path / "model", policy_head=head)
        chunks.append(policy.session().step(Observation({"static": image}, "open the drawer")).normalized)
    assert policy.card["available_heads"] == ["LSTMDecoder", "drawers"]
    assert not np.allclose(chunks[0], chunks[1], atol=1e-3)
