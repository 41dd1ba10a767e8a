"""Features of a frozen image encoder, computed once: the same numbers, without the encoder."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_backbones
import torch
from test_network import batch_of, network_of, own_model
from test_window_dataset import corrupt
from training_sets import CALVIN, last_weights, losses, make_config, make_episode, make_source, run_quietly

from robovlms_ros.data.episodes import MemorySource
from robovlms_ros.data.errors import DataError
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.train import run as run_module
from robovlms_ros.train.features import FeatureInfo, FeatureStore, features_of, keepable

SETUPS: dict[str, tuple[dict[str, Any], str | None]] = {
    "projector trained": ({}, "patches"),
    "all frozen": ({"freeze_backbone": True}, "tokens"),
    "encoder trained": ({"train_vision": True}, None),
    "adapters in the language model": ({"lora_enable": True, "lora_r": 2}, "tokens"),
}


@pytest.mark.parametrize(("setup", "level"), SETUPS.values(), ids=SETUPS)
def test_what_can_be_kept_follows_from_what_is_trained(setup: dict[str, Any], level: str | None) -> None:
    network = network_of(own_model(setup)).train()
    found = keepable(network.vla)
    assert (found and found[0]) == level


@pytest.mark.parametrize("backbone", ["paligemma2", "llava-llama", "qwenvl", "smolvlm", "flamingo"])
@pytest.mark.parametrize("frozen", [False, True])
def test_kept_features_give_the_predictions_of_images_on_every_backbone(backbone: str, frozen: bool) -> None:
    model = tiny_backbones.make_model(backbone)
    model.text_tower.requires_grad_(not frozen)
    for module in ("multi_modal_projector", "connector"):
        if hasattr(model.backbone.model, module):
            getattr(model.backbone.model, module).requires_grad_(not frozen)
    model.vision_tower.requires_grad_(False)
    network, batch = network_of(model).eval(), batch_of(model)
    found = keepable(model)
    if not frozen and not model.has_projector() and backbone != "qwenvl":
        assert found is None
        return
    assert found is not None
    expected = network.predict(batch).pose
    network.kept, shape = found
    pixels = network.preprocess.normalize(batch.static.flatten(0, 1))
    features = features_of(model, network.kept, pixels)
    assert features.shape[1:] == shape
    given = batch._replace(static=features.view(*batch.static.shape[:2], *shape))
    torch.testing.assert_close(network.predict(given).pose, expected, atol=1e-5, rtol=0)


def info(**changes: Any) -> FeatureInfo:
    fields = {"level": "tokens", "shape": (2, 3), "dtype": "float32", "rows": 4, "cameras": ("static",)}
    return FeatureInfo(**(fields | {"fingerprint": "a"} | changes))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_features_come_back_as_they_were_kept(tmp_path: Path, dtype: str) -> None:
    store = FeatureStore.create(tmp_path / "f", info(dtype=dtype))
    values = torch.randn(2, 2, 3).to(torch.bfloat16 if dtype == "bfloat16" else torch.float32)
    store.write("static", np.array([3, 1]), values)
    store.flush()
    store.finish()
    again = FeatureStore.reopen(tmp_path / "f", info(dtype=dtype))
    assert again is not None
    assert torch.equal(again.read("static", np.array([1, 3, 3])), values[[1, 0, 0]])
    with pytest.raises(DataError, match="image 0 of camera 'static' could not be read"):
        again.read("static", np.array([1, 0]))


def test_features_of_something_else_or_half_of_them_are_not_taken(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "f", info())
    assert FeatureStore.reopen(tmp_path / "f", info()) is None
    store.finish()
    assert FeatureStore.reopen(tmp_path / "f", info()) is not None
    for other in (info(fingerprint="b"), info(rows=5), info(level="patches")):
        assert FeatureStore.reopen(tmp_path / "f", other) is None


def test_a_disk_without_room_is_named_before_anything_is_computed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"need \d+\.\d GB, .* left; set feature_cache\.folder"):
        FeatureStore.create(tmp_path / "f", info(rows=10**14))


FROZEN = {"optim": {"dropout": False, "steps": 5}, "data": {"validation_fraction": 0.25}}


@pytest.mark.parametrize("freeze", [False, True])
def test_a_run_on_kept_features_is_the_run_on_images(
    tmp_path: Path, freeze: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = {"act_head": {"num_layers": 1}, "train_setup": {"freeze_backbone": freeze}}
    sections = FROZEN | {"model": {"overrides": overrides}}
    run_quietly(make_config(tmp_path / "images", **sections))
    run_quietly(make_config(tmp_path / "features", **sections, feature_cache={"mode": "on"}))
    assert losses(tmp_path / "features") == pytest.approx(losses(tmp_path / "images"), abs=1e-5)
    assert losses(tmp_path / "features", "val_loss") == pytest.approx(
        losses(tmp_path / "images", "val_loss"), abs=1e-5
    )
    one, other = last_weights(tmp_path / "images"), last_weights(tmp_path / "features")
    assert all(torch.allclose(one[name], other[name], atol=1e-4) for name in one)
    # A run that goes on finds them where they are.
    monkeypatch.setattr("robovlms_ros.train.feature_filling.features_of", lambda *_: pytest.fail("computed again"))
    longer = sections | {"optim": FROZEN["optim"] | {"steps": 6}}
    config = make_config(tmp_path / "features", **longer, feature_cache={"mode": "on"})
    assert run_quietly(config, resume=True).steps == 6


def test_the_encoder_does_not_run_in_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    keep = run_module.keep_features

    def watched(*arguments: Any, **named: Any) -> Any:
        store = keep(*arguments, **named)
        model = arguments[1]
        model.vision_tower.register_forward_hook(lambda *_: seen.append(1))
        return store

    monkeypatch.setattr(run_module, "keep_features", watched)
    run_quietly(make_config(tmp_path / "run", feature_cache={"mode": "auto"}))
    assert (tmp_path / "run" / "features" / "train" / "features.json").is_file()
    assert seen == []


def test_features_are_only_kept_where_they_stay_the_same(tmp_path: Path) -> None:
    shifted = {"data": {"shift": {"static": 2}}}
    with pytest.raises(ConfigError, match="shifted at random"):
        run_quietly(make_config(tmp_path / "a", feature_cache={"mode": "on"}, **shifted))
    trained = {"model": {"overrides": {"act_head": {"num_layers": 1}, "train_setup": {"train_vision": True}}}}
    with pytest.raises(ConfigError, match="the image encoder is trained"):
        run_quietly(make_config(tmp_path / "b", feature_cache={"mode": "on"}, **trained))
    # A shift of a camera that the model does not have changes nothing.
    hand = {"data": {"shift": {"hand": 2}}}
    run_quietly(make_config(tmp_path / "c", feature_cache={"mode": "auto"}, **hand))
    assert (tmp_path / "c" / "features").is_dir()
    for name, sections in (("d", shifted), ("e", trained), ("f", {"feature_cache": {"limit_gb": 1e-6}})):
        cache = {"mode": "auto"} | sections.pop("feature_cache", {})
        run_quietly(make_config(tmp_path / name, feature_cache=cache, **sections))
        assert not (tmp_path / name / "features").exists()


def test_a_corrupt_image_has_no_features_and_its_windows_are_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = MemorySource("memory", [corrupt(0, 4), *(make_episode(n, 4) for n in (1, 2))], "rpy", CALVIN.frame)
    with caplog.at_level(logging.WARNING):
        run_quietly(make_config(tmp_path / "run", feature_cache={"mode": "on"}), source)
    assert "step 2, camera static: not a JPEG" in caplog.text
    assert len(losses(tmp_path / "run")) == 4


def test_two_cameras_have_a_file_each(tmp_path: Path) -> None:
    model = {"untrained": {"window": 2, "chunk": 2, "image_size": 28, "hand": True}}
    run_quietly(
        make_config(tmp_path / "run", model=model, feature_cache={"mode": "on"}),
        make_source(4, 4, ("static", "hand")),
    )
    files = {path.name for path in (tmp_path / "run" / "features" / "train").iterdir()}
    assert files == {"static.bin", "hand.bin", "readable.bin", "features.json"}
