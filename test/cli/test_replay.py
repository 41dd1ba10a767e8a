"""`robovlms replay` as a user calls it: what it writes, what it says, and how it exits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from replaying import IMAGE, PERIOD, look, record
from typer.testing import CliRunner, Result

from robovlms_ros.cli.main import app
from robovlms_ros.policy.untrained import make_untrained
from robovlms_ros.replay.errors import ReplayError
from robovlms_ros.replay.golden import load_golden
from robovlms_ros.replay.result import load_result


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_untrained(tmp_path_factory.mktemp("model") / "model", image_size=28, action_encoder=True)


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("bags") / "bag", side=32)


def run(bag: Path, model: Path | None, *words: Any) -> Result:
    given = [] if model is None else ["--model", str(model)]
    arguments = ["replay", str(bag), *given, "-p", "model.threads:=1", *map(str, words)]
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "120"})


def failed(result: Result) -> str:
    """The one line with which a command fails; `main` prints it and exits with 1."""
    assert isinstance(result.exception, ReplayError | ValueError), result.output
    assert "\n" not in str(result.exception)
    return str(result.exception)


def test_actions_are_written_and_summed_up(bag: Path, model: Path, tmp_path: Path) -> None:
    done = run(bag, model, "--out", tmp_path / "actions.json")
    assert done.exit_code == 0, done.output
    result = load_result(tmp_path / "actions.json")
    assert len(result.actions) == 6
    assert result.digest[:16] in done.output
    assert "6 and 0 stops in 1 episodes, from 6 inferences" in done.output
    assert [inference.history_rows for inference in result.inferences] == list(range(6))
    assert {"decode", "preprocess", "vision", "language", "head", "model", "wait"} <= set(
        result.inferences[0].timings
    )
    assert result.model.card["untrained"] is True
    assert result.versions["torch"]
    again = run(bag, model, "--against", tmp_path / "actions.json", "--tolerance", "0")
    assert again.exit_code == 0, again.output
    assert "actions in both" in again.output


def test_a_golden_file_is_kept_and_the_exit_status_tells(bag: Path, model: Path, tmp_path: Path) -> None:
    golden = tmp_path / "golden.json"
    assert run(bag, model, "--save-golden", golden).exit_code == 0
    assert run(bag, model, "--check-golden", golden).exit_code == 0
    changed = run(bag, model, "--check-golden", golden, "-p", "chunk.mode:=ensemble")
    assert changed.exit_code == 4, changed.output
    assert "first divergence: action 1" in changed.output
    assert "another parameter: chunk.mode is ensemble instead of first" in changed.output
    assert (
        run(bag, model, "--check-golden", golden, "-p", "chunk.mode:=ensemble", "--tolerance", "10").exit_code == 0
    )
    measured = run(bag, model, "--against", golden, "-p", "chunk.mode:=ensemble")
    assert measured.exit_code == 0, "a comparison without a tolerance only measures"
    content = json.loads(golden.read_text())
    content["actions"][2]["action"][0] += 1e-4
    golden.write_text(json.dumps(content))
    assert load_golden(golden).actions
    assert run(bag, model, "--check-golden", golden).exit_code == 4


def test_a_damaged_bag_exits_with_3_where_the_rest_is_wanted(model: Path, tmp_path: Path) -> None:
    def cut(writer: Any) -> None:
        look(writer, 0, 0.0)
        writer._writer.write(writer._connections[IMAGE], 1_700_000_000_100_000_007, b"\x00\x01\x00\x00")

    path = record(tmp_path / "bag", 0, extra=cut)
    assert "--keep-going" in failed(run(path, model))
    done = run(path, model, "--keep-going")
    assert done.exit_code == 3, done.output
    assert f"problem: message 1 on {IMAGE}" in done.output


def test_a_bag_that_gives_no_action_exits_with_3_and_says_why(bag: Path, model: Path) -> None:
    done = run(bag, model, "-p", "enabled:=false")
    assert done.exit_code == 3
    assert "no action came of this bag: disabled" in done.output


def test_parameters_come_from_a_file_and_are_checked(bag: Path, model: Path, tmp_path: Path) -> None:
    file = tmp_path / "vla.yaml"
    file.write_text(
        f"/**:\n  ros__parameters:\n    model: {{path: {model}}}\n    rate: {1 / (2 * PERIOD)}\n    spede: 1\n"
    )
    done = run(bag, None, "--params", file, "--out", tmp_path / "a.json")
    assert done.exit_code == 0, done.output
    assert len(load_result(tmp_path / "a.json").actions) == 3
    assert "vla_node has no parameter spede" in done.output
    assert "chunk.mode must be" in failed(run(bag, model, "-p", "chunk.mode:=fast"))
    assert "NAME:=VALUE" in failed(run(bag, model, "-p", "rate=5"))


def test_what_is_missing_is_named(bag: Path, model: Path, tmp_path: Path) -> None:
    assert "does not exist" in failed(run(tmp_path / "none", model))
    # Without a model it is the tabletop's, which takes a state that nobody has named.
    assert "state.source" in failed(run(bag, None))
    assert str(tmp_path / "m") in failed(run(bag, tmp_path / "m"))
    assert "no message on '/front'" in failed(run(bag, model, "--image", "/front"))
    assert "no recorded actions" in failed(run(bag, model, "--against", "recorded"))
    assert "none.json does not exist" in failed(run(bag, model, "--check-golden", tmp_path / "none.json"))
