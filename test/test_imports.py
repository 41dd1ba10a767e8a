"""Which room may call which: imports that would put ROS into the model, or torch into an idle node."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "robovlms_ros"
ROS = {
    "rclpy",
    "sensor_msgs",
    "std_msgs",
    "diagnostic_msgs",
    "lifecycle_msgs",
    "launch",
    "launch_ros",
    "cv_bridge",
}
HEAVY = {"torch", "transformers", "cv2", "cv_bridge"}


def files(*rooms: str) -> list[Path]:
    return sorted(path for room in rooms for path in (PACKAGE / room).rglob("*.py"))


def imported(tree: ast.AST) -> set[str]:
    """Full names of all modules imported anywhere below ``tree``."""
    names: set[str] = set()
    for statement in ast.walk(tree):
        if isinstance(statement, ast.Import):
            names |= {alias.name for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            names.add(statement.module)
    return names


@pytest.mark.parametrize(
    "path", files("model", "data", "train", "policy", "evaluation", "sim"), ids=lambda path: str(path.name)
)
def test_what_runs_without_ros_never_imports_it(path: Path) -> None:
    names = imported(ast.parse(path.read_text(encoding="utf-8")))
    assert not {
        name for name in names if name.split(".")[0] in {*ROS, "cv_bridge"} or name.startswith("robovlms_ros.ros")
    }


# The rest of replay/ plays bags into a graph, or listens to one.
WITH_ROS = {"player.py", "live_run.py", "lock_step.py", "rerun_live.py"}


@pytest.mark.parametrize(
    "path", [path for path in files("replay") if path.name not in WITH_ROS], ids=lambda path: str(path.name)
)
def test_a_replay_never_imports_ros(path: Path) -> None:
    names = imported(ast.parse(path.read_text(encoding="utf-8")))
    assert not {name for name in names if name.split(".")[0] in ROS or name.startswith("robovlms_ros.ros")}
    assert not names & {f"robovlms_ros.replay.{name.removesuffix('.py')}" for name in WITH_ROS}


def test_a_replay_imports_neither_ros_nor_torch_before_a_model_is_loaded() -> None:
    loaded = modules_after("import robovlms_ros.replay.replay, robovlms_ros.replay.comparison")
    assert "rosbags" in loaded
    assert not loaded & (ROS | {"torch", "transformers"})


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


@pytest.mark.parametrize("room", ["ros", "nodes"])
def test_ros_and_nodes_import_without_torch_or_opencv(room: str) -> None:
    pytest.importorskip("rclpy")
    names = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in files(room)]
    loaded = modules_after("\n".join(f"import {name.removesuffix('.__init__')}" for name in names))
    assert "rclpy" in loaded
    assert not loaded & HEAVY


def test_the_runtime_of_a_node_imports_neither_ros_nor_torch() -> None:
    modules = ["controller", "safety", "history", "instruction", "frames", "decision", "null_policy", "types"]
    loaded = modules_after("\n".join(f"import robovlms_ros.policy.{name}" for name in modules))
    assert not loaded & (ROS | HEAVY | {"pydantic", "PIL"})


def test_the_simulator_imports_neither_ros_nor_torch() -> None:
    pytest.importorskip("mujoco")
    names = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in files("sim")]
    loaded = modules_after("\n".join(f"import {name.removesuffix('.__init__')}" for name in names))
    assert "mujoco" in loaded
    assert not loaded & (ROS | HEAVY)
