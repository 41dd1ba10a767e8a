"""docs/training.md: its configuration is complete and valid, its commands, options and messages exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel

from robovlms_ros.cli.main import app
from robovlms_ros.train.auxiliary import AUXILIARY_HEADS
from robovlms_ros.train.config import LossSection, TrainingConfig
from robovlms_ros.train.config_file import parse_yaml, read_training_config

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    """The configuration of the document as a file. It shows both ways to hold episodes out; a run takes one."""
    (tmp_path / "kitchen.yaml").write_text(blocks("yaml")[0])
    return tmp_path / "kitchen.yaml"


def test_the_configuration_is_valid(run_file: Path) -> None:
    config = read_training_config(run_file, ["optim.batch_size=8"])
    assert config.optim.learning_rate == 1e-4
    assert config.optim.batch_size == 8


def missing(section: BaseModel, written: dict[str, Any], prefix: str = "") -> list[str]:
    """Keys of ``section`` that are not in ``written``."""
    found = []
    for name in type(section).model_fields:
        value = getattr(section, name)
        if name not in written:
            found.append(f"{prefix}{name}")
        elif isinstance(value, BaseModel):
            found += missing(value, written[name], f"{prefix}{name}.")
    return found


def test_every_key_is_explained(run_file: Path) -> None:
    config = read_training_config(run_file)
    # What the text around it explains.
    elsewhere = {"model.packed", "model.policy_head", "model.untrained", "optim.steps", "optim.warmup_epochs"}
    assert set(missing(config, parse_yaml(run_file.read_text()))) == elsewhere
    for key in elsewhere:
        assert re.search(rf"\b{key.rpartition('.')[2]}\b", DOCUMENT)


def test_values_called_defaults_are() -> None:
    whole = parse_yaml(blocks("yaml")[0])
    least = {key: whole[key] for key in ("output", "robot")} | {"data": {"train": "x"}, "optim": {"steps": 1}}
    default = TrainingConfig.model_validate(least | {"model": {"untrained": {}}})
    for section, key in (
        *(("data", key) for key in ("frame", "sampling", "skip", "history_dropout", "pad_prompts", "preprocess")),
        *(("loss", key) for key in ("pose", "gripper_ratio", "auxiliary")),
        *(("optim", key) for key in ("clip", "dropout")),
        *(("feature_cache", key) for key in ("mode", "limit_gb", "folder")),
        *(("checkpoints", key) for key in ("every", "keep_last", "keep_best", "metric", "mode")),
        *(("validation", key) for key in ("every", "windows")),
        *(("log", key) for key in ("every", "tensorboard")),
    ):
        assert whole[section][key] == getattr(getattr(default, section), key), f"{section}.{key}"


def test_the_auxiliary_losses_exist() -> None:
    section = LossSection.model_validate(parse_yaml(blocks("yaml")[1])["loss"])
    assert {head.name for head in section.auxiliary} == set(AUXILIARY_HEADS)


def commands() -> list[str]:
    shell = "\n".join(blocks("bash")).replace("\\\n", " ")
    inline = re.findall(r"`((?:[A-Z_]+=\S+ )?robovlms [^`]+)`", DOCUMENT)
    lines = [line.split("#")[0] for line in (*shell.splitlines(), *inline)]
    return [
        line[line.index("robovlms") :] for line in lines if re.match(r"([A-Z_]+=\S+ )?robovlms |accelerate", line)
    ]


@pytest.mark.parametrize("command", commands())
def test_commands_and_their_options_exist(command: str) -> None:
    # Of "accelerate launch" what is behind our module.
    words = shlex.split(command.replace("robovlms_ros.cli.main", "robovlms"))[1:]
    found = typer.main.get_command(app)
    while words and hasattr(found, "commands"):
        found = found.commands[words.pop(0)]
    options = {name for parameter in found.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


def test_the_options_of_accelerate_exist() -> None:
    accelerate = pytest.importorskip("accelerate.commands.launch")
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("accelerate")]
    assert len(lines) == 3
    for line in lines:
        parsed = accelerate.launch_command_parser().parse_args(shlex.split(line)[2:])
        assert parsed.module
        assert parsed.training_script == "robovlms_ros.cli.main"
        assert parsed.num_processes == 4
    assert parsed.use_deepspeed
    assert parsed.zero_stage == 2


def words_of_the_sources() -> str:
    """All text of the package, string literals joined as they are when it runs."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "robovlms_ros").rglob("*.py"))
    return re.sub(r'"\s+f?"', "", text)


def test_messages_are_those_of_the_code() -> None:
    table = DOCUMENT[DOCUMENT.index("| message | cause and cure |") :]
    messages = re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE)
    assert len(messages) > 10
    sources = words_of_the_sources()
    for message in messages:
        # Between values and dots lie words that must be there.
        parts = re.split(r"'[^']*'|\d+|\.\.\.| in episode|;|:", message)
        longest = max((part.strip(" ,.?") for part in parts), key=len)
        assert longest in sources, message
