"""The configuration of a run: what is refused, and how it says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from robovlms_ros.model.errors import ConfigError
from robovlms_ros.train.config_file import parse_training_config, read_training_config, write_training_config

MINIMAL: dict[str, Any] = {
    "output": "runs/try",
    "robot": "calvin",
    "model": {"untrained": {}},
    "data": {"train": "datasets/a"},
    "optim": {"steps": 10},
}
EXAMPLES = Path(__file__).resolve().parents[2] / "config" / "train"


def changed(**sections: Any) -> dict[str, Any]:
    return {
        key: {**MINIMAL.get(key, {}), **sections[key]}
        if isinstance(sections.get(key), dict)
        else sections.get(key, value)
        for key, value in {**MINIMAL, **sections}.items()
    }


def test_a_minimal_configuration_is_completed() -> None:
    config = parse_training_config(MINIMAL)
    assert config.data.train == [Path("datasets/a")]
    assert config.optim.clip == 1.0
    assert config.optim.learning_rate is None


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a misspelt section": ({**MINIMAL, "optm": {}}, r"unknown key 'optm': did you mean 'optim'"),
    "a misspelt key": (
        changed(optim={"batchsize": 3}),
        r"unknown key 'optim\.batchsize': did you mean 'batch_size'",
    ),
    "a misspelt key of an auxiliary head": (
        changed(loss={"auxiliary": [{"name": "a", "wieght": 1.0}]}),
        r"'loss\.auxiliary\[0\]\.wieght': did you mean 'weight'",
    ),
    "a misspelt key of the model's": (
        changed(model={"overrides": {"train_setup": {"train_vison": True}}}),
        r"'model\.overrides\.train_setup\.train_vison': did you mean 'train_vision'",
    ),
    "a key like no other": (
        changed(log={"zzzzqq": 1}),
        r"unknown key 'log\.zzzzqq': there are every, tensorboard",
    ),
    "a wrong type": (changed(optim={"batch_size": "many"}), r"'optim\.batch_size' is 'many'"),
    "a number out of range": (changed(data={"history_dropout": 1.5}), r"'data\.history_dropout' is 1\.5"),
    "not a number": (changed(optim={"clip": float("nan")}), r"'optim\.clip'"),
    "no length": (changed(optim={"steps": None}), "one of steps and epochs"),
    "two lengths": (changed(optim={"epochs": 3}), "one of steps and epochs"),
    "no model": (changed(model={"untrained": None}), "one of config, packed and untrained, not none"),
    "two models": (changed(model={"packed": "m"}), "not packed and untrained"),
    "weights without a model": (changed(model={"weights": "a.pt"}), "weights belongs to config"),
    "two held-out sets": (
        changed(data={"validation": ["b"], "validation_fraction": 0.1}),
        "validation or validation_fraction",
    ),
    "two heads of one name": (
        changed(loss={"auxiliary": [{"name": "a", "weight": 1.0}] * 2}),
        "different names",
    ),
    "nothing to train on": ({k: v for k, v in MINIMAL.items() if k != "data"}, "'data' is missing"),
}


@pytest.mark.parametrize(("content", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named(content: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_training_config(content)


def test_values_from_the_command_line_lie_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(MINIMAL))
    settings = [
        "optim.batch_size=4",
        "data.train=[x, y]",
        "model.overrides.train_setup.train_vision=true",
        "robot=b",
    ]
    config = read_training_config(path, settings)
    assert config.optim.batch_size == 4
    assert config.data.train == [Path("x"), Path("y")]
    assert config.model.overrides == {"train_setup": {"train_vision": True}}
    assert config.robot == "b"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("optim.batch_size", "section.key=value"),
        ("=3", "section.key=value"),
        ("robot.name=x", "'robot' is a value, not a section"),
        ("optim.clip=[", "not valid YAML"),
        ("optim.clp=1", "did you mean 'clip'"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, setting: str, message: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(MINIMAL))
    with pytest.raises(ConfigError, match=message):
        read_training_config(path, [setting])


@pytest.mark.parametrize("text", ["1e-4", "1.e-4", "+1.0E-4", "0.0001", ".1e-3"])
def test_numbers_may_be_written_as_everybody_does(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(MINIMAL) + f"loss: {{gripper_ratio: {text}}}\n")
    config = read_training_config(path, [f"optim.learning_rate={text}", "output=1e"])
    assert config.optim.learning_rate == config.loss.gripper_ratio == 1e-4
    assert config.output == Path("1e")


def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        read_training_config(tmp_path / "none.yaml")
    for content, message in (("a: [", "not valid YAML"), ("- a", "must map keys")):
        (tmp_path / "bad.yaml").write_text(content)
        with pytest.raises(ConfigError, match=message):
            read_training_config(tmp_path / "bad.yaml")


def test_what_is_written_reads_back_as_the_same(tmp_path: Path) -> None:
    config = parse_training_config(changed(model={"overrides": {"act_head": {"latent": 2}}}, optim={"clip": 0.5}))
    write_training_config(config, tmp_path / "written.yaml")
    assert read_training_config(tmp_path / "written.yaml") == config


@pytest.mark.parametrize("name", ["untrained", "finetune"])
def test_the_examples_are_valid(name: str) -> None:
    read_training_config(EXAMPLES / f"{name}.yaml")
