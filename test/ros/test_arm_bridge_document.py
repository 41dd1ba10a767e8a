"""The recipes of docs/arm-bridge.md: their parameters exist and go together, their launch arguments exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("rclpy")
from robovlms_ros.ros.arm_bridge_parameters import ARM_BRIDGE_NODE, OUTPUTS, bridge_settings

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "arm-bridge.md").read_text(encoding="utf-8")
SECTION = "/**/arm_bridge_node"
BLOCKS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", DOCUMENT, flags=re.DOTALL)]
RECIPES = [block[SECTION]["ros__parameters"] for block in BLOCKS if SECTION in block]
LAUNCHES = re.findall(r"ros2 launch robovlms_ros vla\.launch\.py((?:\\\n|[^\n`])*)", DOCUMENT)


def flattened(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flattened(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


@pytest.mark.parametrize("recipe", RECIPES, ids=range(len(RECIPES)))
def test_parameters_of_a_recipe_exist_and_go_together(recipe: dict[str, Any]) -> None:
    given = flattened(recipe)
    assert given.keys() <= ARM_BRIDGE_NODE.rows.keys()
    problems = [ARM_BRIDGE_NODE.rows[name].check(value) for name, value in given.items()]
    assert not any(problems), problems
    typed = {name: ARM_BRIDGE_NODE.rows[name].typed(value) for name, value in given.items()}
    bridge_settings(ARM_BRIDGE_NODE.defaults() | typed)


@pytest.mark.parametrize("line", LAUNCHES, ids=range(len(LAUNCHES)))
def test_arguments_of_a_launch_line_exist(line: str) -> None:
    tree = ast.parse((ROOT / "launch" / "vla.launch.py").read_text(encoding="utf-8"))
    declared = {
        ast.literal_eval(node.args[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "DeclareLaunchArgument"
    }
    given = set(re.findall(r"(\w+):=", line))
    assert {"model", "arm_bridge"} <= given <= declared
    assert given & set(OUTPUTS)


def test_the_document_has_a_recipe_for_every_output() -> None:
    assert len(RECIPES) >= 4
    assert len(LAUNCHES) >= 4
    asked = set().union(*(recipe.get("outputs", []) for recipe in RECIPES))
    assert asked | set(re.findall(r"(\w+):=/", DOCUMENT)) >= set(OUTPUTS)
