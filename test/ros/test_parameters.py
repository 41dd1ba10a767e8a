from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("rclpy")
import rclpy
from rclpy.node import Node
from rclpy.parameter import Parameter

from robovlms_ros.policy.parameter_tables import ACTION_HISTORY_NODE, VLA_NODE, control_settings
from robovlms_ros.policy.parameters import ParameterError, ParameterTable, Row
from robovlms_ros.policy.safety import Limits
from robovlms_ros.ros.arm_bridge_parameters import ARM_BRIDGE_NODE
from robovlms_ros.ros.parameters import Parameters

TABLE = ParameterTable(
    [
        Row("speed", 1.0, "Speed.", "any time", low=0.0, high=2.0),
        Row("model.path", "", "Path."),
        Row("mode", "a", "Mode.", choices=("a", "b")),
        Row("count", 3, "Count.", low=1),
        Row("fixed", True, "Fixed.", "at start"),
        Row("box", (), "Box.", "any time", length=2),
        Row("fingers", (0.5,), "Fingers.", "any time"),
        Row("names", ("finger",), "Names.", "any time"),
        Row("outputs", ("a",), "Outputs.", "any time", choices=("a", "b")),
    ]
)


class Holder:
    """A node with declared parameters, and what it was told to apply."""

    def __init__(self, graph: Any, cli_args: list[str] | None = None, **overrides: Any) -> None:
        self.locked = False
        self.applied: list[Mapping[str, Any]] = []
        self.refuse = ""
        given = [Parameter(name.replace("__", "."), value=value) for name, value in overrides.items()]
        self.node: Node = graph.add(
            rclpy.create_node("holder", context=graph.context, parameter_overrides=given, cli_args=cli_args)
        )
        self.declared = Parameters(self.node, TABLE, locked=lambda: self.locked, apply=self._apply)

    def _apply(self, values: Mapping[str, Any]) -> None:
        if self.refuse:
            raise ValueError(self.refuse)
        self.applied.append(values)

    def set(self, **changes: Any) -> tuple[bool, str]:
        parameters = [Parameter(name.replace("__", "."), value=value) for name, value in changes.items()]
        result = self.node.set_parameters_atomically(parameters)
        return result.successful, result.reason


def test_values_come_from_defaults_and_overrides(graph: Any) -> None:
    values = Holder(graph, speed=0.5).declared.values()
    assert values == TABLE.defaults() | {"speed": 0.5}


def test_descriptors_tell_the_range_and_the_meaning(graph: Any) -> None:
    node = Holder(graph).node
    speed = node.describe_parameter("speed")
    assert speed.description == "Speed."
    assert (speed.floating_point_range[0].from_value, speed.floating_point_range[0].to_value) == (0.0, 2.0)
    assert node.describe_parameter("mode").additional_constraints == "one of: a, b"
    assert node.describe_parameter("fixed").read_only


@pytest.mark.fault(4)
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"speed": -1.0}, "speed"),
        ({"speed": math.nan}, "speed"),
        ({"speed": [1.0, 2.0]}, "speed must be a number, not"),
        ({"speed": "fast"}, "speed must be a number, not 'fast'"),
        ({"count": 1.5}, "count must be a whole number, not 1.5"),
        ({"count": True}, "count must be a whole number, not True"),
        ({"mode": "c"}, "mode must be one of a, b, not 'c'"),
        ({"count": 0}, "count must be at least 1, not 0"),
        ({"fixed": False}, "read-only"),
        ({"box": [1.0]}, "box must be 2 numbers, or none, not 1"),
        ({"box": [1.0, math.nan]}, "box must hold finite numbers"),
        ({"box": [True, False]}, "box must be 2 numbers, or none, not [True, False]"),
        ({"box": ["1", "2"]}, "box must be 2 numbers, or none, not ['1', '2']"),
        ({"box": 1.0}, "box must be 2 numbers, or none, not 1.0"),
        ({"box": "1, 2"}, "box must be 2 numbers, or none, not '1, 2'"),
        ({"fingers": []}, "fingers must be one or more numbers, not"),
        ({"fingers": [0.5, math.inf]}, "fingers must hold finite numbers"),
        ({"fingers": ["a"]}, "fingers must be one or more numbers, not ['a']"),
        ({"names": []}, "names must be one or more texts, not"),
        ({"names": [1.0]}, "names must be one or more texts, not [1.0]"),
        ({"names": "left"}, "names must be one or more texts, not 'left'"),
        ({"outputs": ["a", "c"]}, "outputs must be one or more of a, b, not ['a', 'c']"),
    ],
)
def test_a_wrong_value_is_refused_with_the_reason_and_nothing_is_applied(
    graph: Any, change: dict[str, Any], reason: str
) -> None:
    holder = Holder(graph)
    successful, said = holder.set(**change)
    assert not successful
    assert reason in said
    assert not holder.applied
    assert holder.declared.values() == TABLE.defaults()


def test_a_whole_number_will_do_for_a_float(graph: Any) -> None:
    holder = Holder(graph, speed=2)
    assert holder.set(speed=1)[0]
    value = holder.declared.values()["speed"]
    assert (value, type(value)) == (1.0, float)
    assert not holder.set(speed=3)[0]


@pytest.mark.parametrize("given", [[1.0, 2.0], [1, 2], (1.0, 2.0)])
def test_an_array_may_be_whole_numbers_too_and_may_be_emptied(graph: Any, given: Any) -> None:
    holder = Holder(graph)
    assert holder.set(box=given)[0]
    assert holder.declared.values()["box"] == (1.0, 2.0)
    assert holder.set(box=[])[0]
    assert holder.declared.values()["box"] == ()


def test_an_array_of_one_or_more_may_have_any_length(graph: Any) -> None:
    holder = Holder(graph)
    assert holder.set(fingers=[1, 2, 3], names=["left", "right"], outputs=["b", "a"])[0]
    values = holder.declared.values()
    assert (values["fingers"], values["names"]) == ((1.0, 2.0, 3.0), ("left", "right"))
    assert values["outputs"] == ("b", "a")


def test_texts_may_come_from_a_file(graph: Any, tmp_path: Path) -> None:
    path = tmp_path / "parameters.yaml"
    path.write_text("/**:\n  ros__parameters: {outputs: [b, a], fingers: []}\n", encoding="utf-8")
    declared = Holder(graph, cli_args=["--ros-args", "--params-file", str(path)]).declared
    assert declared.current["outputs"] == ("b", "a")
    assert "fingers" in declared.problem
    assert "outputs" not in declared.problem


@pytest.mark.parametrize(("written", "expected"), [("[]", ()), ("[1.5, 2.0]", (1.5, 2.0)), ("[1, 2]", (1.0, 2.0))])
def test_an_array_may_come_from_a_file(graph: Any, tmp_path: Path, written: str, expected: Any) -> None:
    path = tmp_path / "parameters.yaml"
    path.write_text(f"/**:\n  ros__parameters:\n    box: {written}\n", encoding="utf-8")
    holder = Holder(graph, cli_args=["--ros-args", "--params-file", str(path)])
    assert holder.declared.values()["box"] == expected
    assert tuple(holder.node.get_parameter("box").value) == expected


def test_what_is_locked_may_be_set_to_what_it_is(graph: Any) -> None:
    holder = Holder(graph)
    holder.locked = True
    assert holder.set(model__path="")[0]


def test_changes_are_applied_together_or_not_at_all(graph: Any) -> None:
    holder = Holder(graph)
    assert not holder.set(speed=0.5, mode="c")[0]
    assert holder.declared.values()["speed"] == 1.0
    assert holder.set(speed=0.5, mode="b")[0]
    assert [(values["speed"], values["mode"]) for values in holder.applied] == [(0.5, "b")]


def test_what_the_node_cannot_apply_is_refused(graph: Any) -> None:
    holder = Holder(graph)
    holder.refuse = "too fast for this robot"
    assert holder.set(speed=0.5) == (False, "too fast for this robot")
    assert holder.node.get_parameter("speed").value == 1.0


def test_what_configure_reads_is_locked_while_configured(graph: Any) -> None:
    holder = Holder(graph)
    holder.locked = True
    successful, reason = holder.set(model__path="/other")
    assert not successful
    assert "clean the node up first" in reason
    assert holder.set(speed=0.5)[0]
    holder.locked = False
    assert holder.set(model__path="/other")[0]


@pytest.mark.parametrize(
    "wrong", [{"speed": "1"}, {"speed": 7.0}, {"mode": "c"}, {"count": 0}, {"count": "3"}, {"box": [1.0]}]
)
def test_a_wrong_value_at_start_leaves_a_live_node_that_names_it_and_can_be_cured(
    graph: Any, wrong: dict[str, Any]
) -> None:
    holder = Holder(graph, **wrong)
    (name,) = wrong
    with pytest.raises(ParameterError, match=name):
        holder.declared.values()
    assert holder.declared.current[name] == TABLE.rows[name].default
    assert holder.set(**{name: TABLE.rows[name].default})[0]
    holder.declared.values()


def test_parameters_of_others_pass(graph: Any) -> None:
    assert Holder(graph).set(use_sim_time=True)[0]


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flattened(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in flat.items()}


PARAMETER_FILE = Path(__file__).resolve().parents[2] / "config" / "vla.yaml"
# A bare node name as a key would be inert in a namespace. What /** says comes last, with the command line's.
SECTIONS = {
    "/**/arm_bridge_node": ARM_BRIDGE_NODE.defaults(),
    "/**": VLA_NODE.defaults() | ACTION_HISTORY_NODE.defaults(),
}


def test_the_parameter_file_holds_every_parameter_at_its_default_and_no_other() -> None:
    content = yaml.safe_load(PARAMETER_FILE.read_text(encoding="utf-8"))
    assert list(content) == list(SECTIONS)
    for section, defaults in SECTIONS.items():
        held = flattened(content[section]["ros__parameters"])
        assert held == defaults
        types = {name: type(value) for name, value in held.items()}
        assert types == {name: type(value) for name, value in defaults.items()}


def test_nodes_that_share_a_section_mean_the_same_by_a_name() -> None:
    assert VLA_NODE.rows.keys() & ACTION_HISTORY_NODE.rows.keys() == {"history.length"}


@pytest.mark.parametrize("namespace", ["", "robot", "cell/robot"])
def test_a_section_of_one_node_reaches_it_in_any_namespace_and_no_other(
    graph: Any, tmp_path: Path, namespace: str
) -> None:
    text = PARAMETER_FILE.read_text(encoding="utf-8")
    path = tmp_path / "parameters.yaml"
    path.write_text(text.replace("outputs: [twist]", "outputs: [pose, array]"), encoding="utf-8")
    arguments = {"namespace": namespace, "cli_args": ["--ros-args", "--params-file", str(path)]}
    values = {}
    for name, table in (("arm_bridge_node", ARM_BRIDGE_NODE), ("vla_node", VLA_NODE)):
        node = graph.add(rclpy.create_node(name, context=graph.context, **arguments))
        values[name] = Parameters(node, table, locked=lambda: True, apply=lambda _: None).values()
        assert ("outputs" in node._parameter_overrides) == (name == "arm_bridge_node")
    assert values["arm_bridge_node"] == ARM_BRIDGE_NODE.defaults() | {"outputs": ("pose", "array")}
    assert values["vla_node"] == VLA_NODE.defaults()


def test_the_command_line_wins_over_the_section_of_a_node(graph: Any) -> None:
    arguments = ["--ros-args", "--params-file", str(PARAMETER_FILE), "-p", "outputs:=[pose]", "-p", "timeout:=0.5"]
    node = graph.add(rclpy.create_node("arm_bridge_node", context=graph.context, cli_args=arguments))
    values = Parameters(node, ARM_BRIDGE_NODE, locked=lambda: True, apply=lambda _: None).values()
    assert (values["outputs"], values["timeout"]) == (("pose",), 0.5)


def test_every_default_is_allowed_and_every_row_is_described() -> None:
    for table in (VLA_NODE, ACTION_HISTORY_NODE, ARM_BRIDGE_NODE):
        for row in table.rows.values():
            assert row.check(row.default) is None
            assert row.description.endswith(".")
            assert f"| `{row.name}` |" in table.markdown()


def test_limits_come_from_the_profile_unless_they_are_set_or_switched_off() -> None:
    profile = Limits(0.02, 0.05)
    values: dict[str, Any] = VLA_NODE.defaults()
    assert control_settings(values, profile).limits == profile
    assert control_settings(values | {"limits.rotation": 0.01}, profile).limits == Limits(0.02, 0.01)
    assert control_settings(values | {"limits.enabled": False}, profile).limits == Limits()


def test_the_horizon_counts_only_open_loop() -> None:
    values: dict[str, Any] = VLA_NODE.defaults() | {"chunk.horizon": 5}
    assert control_settings(values, Limits()).chunk.session_horizon == 1
    assert control_settings(values | {"chunk.mode": "open_loop"}, Limits()).chunk.session_horizon == 5
