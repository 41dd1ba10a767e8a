"""ROS 2 parameter files without ROS: the same sections count as in the node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from robovlms_ros.policy.parameter_file import checked, read_assignment, read_parameter_file
from robovlms_ros.policy.parameter_tables import ACTION_HISTORY_NODE, VLA_NODE
from robovlms_ros.policy.parameters import ParameterError

ROOT = Path(__file__).resolve().parents[2]


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "parameters.yaml"
    path.write_text(text)
    return path


def test_the_file_that_comes_with_the_package_holds_the_defaults() -> None:
    values, unknown = checked(VLA_NODE, read_parameter_file(ROOT / "config" / "vla.yaml", "vla_node"))
    assert values == VLA_NODE.defaults()
    assert not unknown


def test_sections_of_every_form_are_read_and_the_later_one_wins(tmp_path: Path) -> None:
    text = """
/**:
  ros__parameters: {rate: 1.0, chunk: {mode: ensemble}, use_sim_time: true}
/left/vla_node:
  ros__parameters: {chunk.horizon: 4}
/right:
  vla_node:
    ros__parameters: {limits: {translation: 0.5}}
vla_node:
  ros__parameters: {rate: 2}
action_history_node:
  ros__parameters: {history: {length: 7}}
"""
    given = read_parameter_file(file(tmp_path, text), "vla_node")
    assert given == {
        "rate": 2,
        "chunk.mode": "ensemble",
        "chunk.horizon": 4,
        "limits.translation": 0.5,
        "use_sim_time": True,
    }
    values, unknown = checked(VLA_NODE, given)
    assert values["rate"] == 2.0
    assert not unknown
    history = read_parameter_file(file(tmp_path, text), "action_history_node")
    assert checked(ACTION_HISTORY_NODE, history)[0]["history.length"] == 7


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("rate: 1.0", "no section with 'ros__parameters'"),
        ("", "no section"),
        ("- 1", "no section"),
        ("a: [", "cannot be read as YAML"),
        ("/**: {ros__parameters: 3}", "must hold names and values"),
        ("&a [*a]", "no section"),
        ("!!python/object/apply:os.system ['true']", "cannot be read as YAML"),
    ],
)
def test_what_is_no_parameter_file_says_so_in_one_line(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ParameterError, match=reason) as error:
        read_parameter_file(file(tmp_path, text), "vla_node")
    assert "\n" not in str(error.value)
    assert "parameters.yaml" in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="does not exist"):
        read_parameter_file(tmp_path / "none.yaml", "vla_node")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("rate:=5", 5),
        ("chunk.overlap:=true", True),
        ("limits.workspace:=[0, 0, 0, 1, 1, 1]", [0, 0, 0, 1, 1, 1]),
        ("action_frame:=", ""),
    ],
)
def test_assignments_of_a_command_line(text: str, value: Any) -> None:
    assert read_assignment(text) == (text.partition(":=")[0], value)


@pytest.mark.parametrize("text", ["rate=5", ":=5", "rate:=["])
def test_what_is_no_assignment_is_refused(text: str) -> None:
    with pytest.raises(ParameterError):
        read_assignment(text)


def test_values_are_checked_as_the_node_checks_them() -> None:
    for given, reason in (({"rate": "fast"}, "rate must be a number"), ({"chunk.mode": "x"}, "one of first")):
        with pytest.raises(ParameterError, match=reason):
            checked(VLA_NODE, given)
    assert checked(VLA_NODE, {"limits.workspace": None})[0]["limits.workspace"] == ()
    assert checked(VLA_NODE, {"chunk.mod": "first"})[1] == ["chunk.mod"]
