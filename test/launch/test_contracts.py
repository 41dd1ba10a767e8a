"""What launch files promise, checked without launch: names on one side exist on the other."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

import pytest
import yaml

pytest.importorskip("rclpy")
pytest.importorskip("mujoco")
from robovlms_ros.nodes import action_history_node, arm_bridge_node, bag_player_node, sim_node, vla_node
from robovlms_ros.policy.parameter_tables import ACTION_HISTORY_NODE, VLA_NODE
from robovlms_ros.ros.arm_bridge_parameters import ARM_BRIDGE_NODE, OUTPUTS
from robovlms_ros.ros.bag_player_parameters import BAG_PLAYER_NODE
from robovlms_ros.ros.sim_parameters import SIM_NODE

ROOT = Path(__file__).resolve().parents[2]
NODES = {
    "vla_node": vla_node,
    "action_history_node": action_history_node,
    "arm_bridge_node": arm_bridge_node,
    "bag_player_node": bag_player_node,
    "sim_node": sim_node,
}
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.py"))
VLA_LAUNCH = ROOT / "launch" / "vla.launch.py"
SIM_LAUNCH = ROOT / "launch" / "sim.launch.py"
REPLAY_LAUNCH = ROOT / "launch" / "replay.launch.py"


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def calls(path: Path, function: str) -> list[ast.Call]:
    return [
        node
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function
    ]


def first_argument(call: ast.Call) -> str:
    assert isinstance(call.args[0], ast.Constant), "a literal, so that contracts can be checked"
    return str(call.args[0].value)


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((each.value for each in call.keywords if each.arg == name), None)


def started(path: Path) -> list[str]:
    executables = [keyword(call, "executable") for call in calls(path, "Node")]
    return [str(each.value) for each in executables if isinstance(each, ast.Constant)]


def installed_executables() -> set[str]:
    cmake = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    (programs,) = re.findall(r"install\(PROGRAMS\s+(.*?)DESTINATION", cmake, flags=re.DOTALL)
    return {Path(program).name for program in programs.split()}


@pytest.mark.fault(37)
@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: str(path.name))
def test_every_argument_that_is_used_is_declared_and_the_reverse(path: Path) -> None:
    declared = [first_argument(call) for call in calls(path, "DeclareLaunchArgument")]
    assert len(declared) == len(set(declared))
    assert set(declared) == {first_argument(call) for call in calls(path, "LaunchConfiguration")}
    for call in calls(path, "DeclareLaunchArgument"):
        assert keyword(call, "description") is not None


@pytest.mark.fault(37)
@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: str(path.name))
def test_every_executable_that_is_started_is_installed(path: Path) -> None:
    assert started(path)
    assert set(started(path)) <= installed_executables()


@pytest.mark.fault(37)
def test_every_node_is_started_by_some_launch_file() -> None:
    assert set(NODES) <= {executable for path in LAUNCH_FILES for executable in started(path)}


@pytest.mark.parametrize("name", sorted(NODES))
def test_every_node_has_an_installed_executable_of_its_name(name: str) -> None:
    script = ROOT / "scripts" / name
    assert name in installed_executables()
    assert os.access(script, os.X_OK)
    assert f"robovlms_ros.nodes.{name}" in script.read_text(encoding="utf-8")


def test_vla_launch_offers_the_facts_of_a_deployment() -> None:
    declared = {first_argument(call) for call in calls(VLA_LAUNCH, "DeclareLaunchArgument")}
    assert declared == {
        *("model", "policy_head", "device", "image", "image_hand", "instruction", "action", "namespace"),
        *("tool_pose", "joint_states"),
        *("arm_bridge", *OUTPUTS),
        *("params_file", "use_sim_time", "autostart", "history", "log_level"),
    }


@pytest.mark.fault(37)
def test_vla_launch_remaps_topics_that_the_nodes_have() -> None:
    names = {assign.targets[0].id: assign.value for assign in ast.walk(tree(VLA_LAUNCH)) if simple(assign)}
    for call in calls(VLA_LAUNCH, "Node"):
        executable = keyword(call, "executable")
        assert isinstance(executable, ast.Constant)
        remappings = keyword(call, "remappings")
        assert isinstance(remappings, ast.List)
        pairs = [names[each.id] if isinstance(each, ast.Name) else each for each in remappings.elts]
        sources = {str(pair.elts[0].value) for pair in pairs}
        topics = {endpoint.name for endpoint in NODES[str(executable.value)].ENDPOINTS}
        assert sources <= topics
        assert "action" in sources, "every node must follow the actions wherever they go"


def simple(node: ast.AST) -> bool:
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)


@pytest.mark.fault(37)
@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: str(path.name))
def test_launch_files_set_parameters_that_the_nodes_have(path: Path) -> None:
    names = {each.arg.replace("__", ".") for call in calls(path, "overrides") for each in call.keywords}
    assert names
    tables = [ACTION_HISTORY_NODE, ARM_BRIDGE_NODE, BAG_PLAYER_NODE, SIM_NODE, VLA_NODE]
    assert names - {"use_sim_time"} <= {name for table in tables for name in table.rows}


@pytest.mark.fault(37)
def test_replay_launch_gives_vla_launch_what_it_takes() -> None:
    (include,) = calls(REPLAY_LAUNCH, "IncludeLaunchDescription")
    given = next(node for node in ast.walk(keyword(include, "launch_arguments")) if isinstance(node, ast.Dict))
    handed = {ast.literal_eval(key): value for key, value in zip(given.keys, given.values, strict=True)}
    assert handed.keys() <= {first_argument(call) for call in calls(VLA_LAUNCH, "DeclareLaunchArgument")}
    assert ast.literal_eval(handed["use_sim_time"]) == "true"
    for name, value in handed.items():
        assert isinstance(value, ast.Constant) or first_argument(value) == name


@pytest.mark.fault(37)
def test_sim_launch_connects_topics_that_exist_on_both_sides() -> None:
    offered = {endpoint.name for endpoint in sim_node.ENDPOINTS}
    (vla,) = [call for call in calls(SIM_LAUNCH, "Node") if keyword(call, "executable").value == "vla_node"]
    pairs = ast.literal_eval(keyword(vla, "remappings"))
    wanted = {endpoint.name for endpoint in vla_node.ENDPOINTS}
    assert {source for source, _ in pairs} <= wanted
    assert {target for _, target in pairs} <= offered
    assert {"tool_pose", "joint_states", "instruction"} <= wanted & offered
    assert {"twist", "target_pose", "trajectory", "array"} <= offered & {e.name for e in arm_bridge_node.ENDPOINTS}


@pytest.mark.parametrize("name", ["tabletop", "tabletop_lock_step"])
def test_parameter_files_of_the_tabletop_set_what_nodes_have_to_what_they_take(name: str) -> None:
    tables = {"arm_bridge_node": ARM_BRIDGE_NODE, "sim_node": SIM_NODE}
    for key, section in yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text()).items():
        table = tables.get(key.rpartition("/")[2])
        known = table.rows if table else {**SIM_NODE.rows, **ACTION_HISTORY_NODE.rows, **VLA_NODE.rows}
        for parameter, value in flat(section["ros__parameters"]).items():
            if parameter != "use_sim_time":
                assert known[parameter].check(value) is None, parameter


def flat(values: dict[str, object], prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found
