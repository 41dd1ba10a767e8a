"""docs/data.md: its examples run, its commands and options exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml

from robovlms_ros.cli.main import app
from robovlms_ros.data.convert import convert
from robovlms_ros.data.episodes import MemorySource
from robovlms_ros.data.folder.format import Origin
from robovlms_ros.data.lerobot.mapping import Mapping

DOCUMENT = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)


def test_the_examples_in_python_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], source: MemorySource
) -> None:
    monkeypatch.chdir(tmp_path)
    convert(source, Path("datasets/kitchen"), Origin(importer="test", path=""))
    examples = blocks("python")
    assert len(examples) == 2
    for example in examples:
        exec(compile(example, "docs/data.md", "exec"), {})
    assert capsys.readouterr().out == "1 open the drawer (20, 7) (224, 224, 3)\n"


def test_the_mapping_is_one() -> None:
    (text,) = blocks("yaml")
    assert Mapping.model_validate(yaml.safe_load(text)).action.kind == "absolute"


def commands() -> list[str]:
    shell = "\n".join(blocks("bash")).replace("\\\n", " ")
    inline = re.findall(r"`(robovlms [^`]+)`", DOCUMENT)
    return [
        line.split("#")[0].split(">")[0] for line in (*shell.splitlines(), *inline) if line.startswith("robovlms")
    ]


@pytest.mark.parametrize("command", commands())
def test_commands_and_their_options_exist(command: str) -> None:
    words = shlex.split(command)[1:]
    found = typer.main.get_command(app)
    while hasattr(found, "commands"):
        found = found.commands[words.pop(0)]
    options = {name for parameter in found.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


def test_options_that_the_text_names_exist() -> None:
    group = typer.main.get_command(app)
    found = [group.commands["import-bag"], *group.commands["data"].commands.values()]  # type: ignore[attr-defined]
    known = {name for command in found for parameter in command.params for name in parameter.opts}
    named = set(re.findall(r"`(--[a-z-]+)", DOCUMENT))
    assert len(named) > 12
    assert named <= known
