"""The simulated robot under the real launch system; runs wherever ROS 2's launch is installed."""

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
pytest.importorskip("mujoco")
from diagnostic_msgs.msg import DiagnosticStatus

from robovlms_ros.policy.untrained import make_untrained
from robovlms_ros.ros import qos

LAUNCH_FILE = Path(__file__).resolve().parents[2] / "launch" / "sim.launch.py"
# What `ros2 launch` does, without its command line.
RUNNER = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription, SetLaunchConfiguration
from launch.launch_description_sources import PythonLaunchDescriptionSource

path, *arguments = sys.argv[1:]
pairs = [tuple(argument.split(":=", 1)) for argument in arguments]
source = PythonLaunchDescriptionSource(path)
service = LaunchService()
patience = SetLaunchConfiguration("sigterm_timeout", "60")  # a busy machine takes more than 5 s
service.include_launch_description(
    LaunchDescription([patience, IncludeLaunchDescription(source, launch_arguments=pairs)])
)
sys.exit(service.run())
"""


@pytest.fixture
def launched(graph: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    model = make_untrained(tmp_path / "model", robot="tabletop", hand=True, image_size=28, window=2, chunk=3)
    arguments = [f"model:={model}", f"domain:={graph.domain}", "namespace:=left", "seed:=7", *request.param]
    process = subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(LAUNCH_FILE), *arguments],
        env={key: value for key, value in os.environ.items() if "PROFILES_FILE" not in key},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    yield process
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=90)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("launched", [["mode:=lock_step"], ["mode:=real_time", "family:=stack"]], indirect=True)
def test_one_line_brings_up_the_whole_loop(launched: Any, graph: Any) -> None:
    told = graph.collect(DiagnosticStatus, "/left/sim_node/episode", qos.latched())

    def steps() -> int:
        values = {pair.key: pair.value for pair in told[-1].values} if told else {}
        assert values.get("seed", "7") in ("7", "8", "9")
        return int(values.get("steps", 0))

    graph.wait_for(lambda: steps() > 5, "steps of an episode", timeout=200)
    launched.send_signal(signal.SIGINT)
    output, _ = launched.communicate(timeout=90)
    assert "Traceback" not in output
