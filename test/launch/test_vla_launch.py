"""The launch file under the real launch system; runs wherever ROS 2's launch is installed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("launch_ros")
from rcl_interfaces.srv import GetParameters

LAUNCH_FILE = Path(__file__).resolve().parents[2] / "launch" / "vla.launch.py"
# What `ros2 launch` does, without its command line.
RUNNER = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

path, *arguments = sys.argv[1:]
pairs = [tuple(argument.split(":=", 1)) for argument in arguments]
source = PythonLaunchDescriptionSource(path)
service = LaunchService()
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(source, launch_arguments=pairs)])
)
sys.exit(service.run())
"""


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with random weights, packed."""
    from robovlms_ros.policy.untrained import make_untrained

    return Path(make_untrained(tmp_path_factory.mktemp("packed") / "model"))


@pytest.fixture
def launched(graph: Any, packed: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    arguments = [
        *getattr(request, "param", []),
        f"model:={packed}",
        "image:=/camera/image_raw",
        "instruction:=/say",
        "action:=/arm/command",
        "namespace:=robot",
        "log_level:=warn",
    ]
    environment = {key: value for key, value in os.environ.items() if "PROFILES_FILE" not in key}
    process = subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(LAUNCH_FILE), *arguments],
        env=environment | {"ROS_DOMAIN_ID": str(graph.domain)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    yield process
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


@pytest.mark.timeout(180)
def test_both_nodes_come_up_with_their_topics_remapped_and_end_cleanly(launched: Any, graph: Any) -> None:
    helper = graph.helper
    graph.wait_for(lambda: helper.count_subscribers("/camera/image_raw"), "an active vla_node", timeout=60)
    graph.wait_for(lambda: helper.count_subscribers("/arm/command"), "the history node")
    graph.wait_for(lambda: helper.count_publishers("/arm/command"), "the publisher of actions")
    assert helper.count_subscribers("/say") == 2
    assert helper.count_publishers("/robot/action_history") == 1
    names = {name for name, _ in helper.get_topic_names_and_types()}
    assert "/robot/vla_node/model_info" in names
    assert "/robot/action" not in names
    values = graph.call(
        GetParameters, "/robot/vla_node/get_parameters", GetParameters.Request(names=["images.max_age"])
    )
    assert values.values[0].double_value == 0.5
    process_environment = next(
        Path(f"/proc/{child}/environ").read_text()
        for child in Path(f"/proc/{launched.pid}/task/{launched.pid}/children").read_text().split()
    )
    assert "config/fastdds.xml" in process_environment
    launched.send_signal(signal.SIGINT)
    output, _ = launched.communicate(timeout=20)
    assert output.count("process has finished cleanly") == 2, output


@pytest.mark.timeout(180)
@pytest.mark.parametrize("launched", [["history:=together"]], indirect=True)
def test_both_nodes_come_up_in_one_process_where_that_is_asked_for(launched: Any, graph: Any) -> None:
    helper = graph.helper
    graph.wait_for(lambda: helper.count_subscribers("/camera/image_raw"), "an active vla_node", timeout=60)
    graph.wait_for(lambda: helper.count_subscribers("/arm/command"), "the history node")
    graph.wait_for(lambda: helper.count_publishers("/robot/action_history"), "its histories")
    graph.wait_for(lambda: helper.count_subscribers("/robot/action_history") == 1, "who hears them")
    launched.send_signal(signal.SIGINT)
    output, _ = launched.communicate(timeout=20)
    assert output.count("process has finished cleanly") == 1, output


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "launched",
    [["arm_bridge:=true", "history:=false", "pose:=/target_pose", "array:=/fingers", "tool_pose:=/tool"]],
    indirect=True,
)
def test_topics_of_commands_bring_up_their_outputs(launched: Any, graph: Any) -> None:
    helper = graph.helper
    graph.wait_for(lambda: helper.count_publishers("/target_pose"), "the bridge", timeout=60)
    graph.wait_for(lambda: helper.count_publishers("/fingers"), "the output array")
    graph.wait_for(lambda: helper.count_subscribers("/tool"), "who hears the tool's pose")
    assert helper.count_publishers("/robot/twist") == 0
    parameters = GetParameters.Request(names=["outputs", "limits.linear"])
    outputs, limit = graph.call(GetParameters, "/robot/arm_bridge_node/get_parameters", parameters).values
    assert list(outputs.string_array_value) == ["pose", "array"]
    assert limit.double_value == 0.25
    graph.wait_for(lambda: helper.count_subscribers("/camera/image_raw"), "an active vla_node", timeout=60)
    graph.wait_for(lambda: helper.count_subscribers("/arm/command") == 1, "who hears the actions")
    launched.send_signal(signal.SIGINT)
    output, _ = launched.communicate(timeout=20)
    assert output.count("process has finished cleanly") == 2, output
