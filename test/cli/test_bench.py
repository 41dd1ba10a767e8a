"""`robovlms bench` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from robovlms_ros.bench.parts import PARTS, Part, Settings
from robovlms_ros.bench.table import Table
from robovlms_ros.cli.main import app
from robovlms_ros.model.errors import ModelError


def run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["bench", *map(str, arguments)], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_the_list_names_every_part_and_why_one_cannot_run() -> None:
    code, output = run("--list")
    assert code == 0
    assert all(name in output for name in PARTS)


def test_tables_are_shown_kept_as_json_and_written(tmp_path: Path) -> None:
    code, output = run("chunks", "--quick", "--json", tmp_path / "a.json", "--write", tmp_path / "p.md")
    assert code == 0
    assert "Chunk modes under injected delay" in output
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["machine"]["torch"] != "-"
    (table,) = content["parts"]["chunks"]["tables"]
    assert table["rows"][0]["chunk.mode"] == "the motion itself"
    assert "robovlms bench --quick chunks" in (tmp_path / "p.md").read_text()


def test_a_problem_is_said_and_sets_the_exit_status(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bad = Table("It", ("x",), ((1,),), problems=("the results [differ]",))

    def measure(settings: Settings, progress: object) -> list[Table]:
        return [bad]

    monkeypatch.setitem(PARTS, "chunks", Part("t", "s", measure))
    code, output = run("chunks", "--json", tmp_path / "a.json")
    assert code == 1
    assert "problem: It: the results [differ]" in output
    assert json.loads((tmp_path / "a.json").read_text())["parts"]["chunks"]["tables"][0]["problems"]


def test_an_unknown_part_is_refused_before_anything_is_measured() -> None:
    result = CliRunner().invoke(app, ["bench", "chunks", "everything"])
    assert isinstance(result.exception, ModelError)
    assert "no part 'everything'" in str(result.exception)


def test_another_document_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    document = tmp_path / "README.md"
    document.write_text("# mine\n")
    result = CliRunner().invoke(app, ["bench", "chunks", "--write", str(document)])
    assert isinstance(result.exception, ModelError)
    assert "Chunk modes under" not in result.output
    assert document.read_text() == "# mine\n"
