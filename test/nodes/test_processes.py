"""The executables as processes: what they cost, what they say, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import TwistStamped
from std_msgs.msg import String

from robovlms_ros.nodes import action_history_node, arm_bridge_node, vla_node
from robovlms_ros.ros import qos
from robovlms_ros.ros.interfaces import RunInstruction, VLAAction

ROOT = Path(__file__).resolve().parents[2]
# A null policy whose every second inference hangs for a minute.
HANGING_NODE = """
import sys, time
from robovlms_ros.nodes.vla_node import VLANode
from robovlms_ros.policy.null_policy import NullPolicy, NullSession
from robovlms_ros.ros.run import run

class Hanging(NullSession):
    steps = 0
    def step(self, observation):
        if observation.instruction != "warm up":
            Hanging.steps += 1
            if Hanging.steps == 2:
                print("hanging", file=sys.stderr, flush=True)
                time.sleep(60)
        return super().step(observation)

NullPolicy.session = lambda self, horizon=1: Hanging(self.cameras, 1, 0.0, horizon)
sys.exit(run(lambda context: VLANode(lambda values: NullPolicy(), context=context)))
"""
# Loading takes a minute.
SLOW_LOADING_NODE = """
import sys, time
from robovlms_ros.nodes.vla_node import VLANode
from robovlms_ros.ros.run import run

def load(values):
    print("loading", file=sys.stderr, flush=True)
    time.sleep(60)

sys.exit(run(lambda context: VLANode(load, context=context)))
"""


@pytest.mark.parametrize(
    ("executable", "module"),
    [
        ("vla_node", vla_node),
        ("action_history_node", action_history_node),
        ("arm_bridge_node", arm_bridge_node),
    ],
)
def test_help_is_quick_and_names_every_topic_and_parameter(executable: str, module: Any) -> None:
    started = time.monotonic()
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, f"scripts/{executable}", "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path},
        timeout=30,
        check=True,
    )
    assert time.monotonic() - started < 3
    assert done.stderr == ""
    expected = [endpoint.name for endpoint in module.ENDPOINTS]
    expected += getattr(module, executable.upper()).rows
    assert not [name for name in expected if f"  {name} " not in done.stdout]
    assert max(len(line) for line in done.stdout.splitlines()) <= 115


def test_without_a_model_the_process_lives_says_one_thing_and_costs_little(start: Any, graph: Any) -> None:
    process = start("scripts/vla_node", "--ros-args", "-p", "model.path:=/no/such/model")
    graph.wait_for(lambda: process.lines, "the error", timeout=30)
    assert process.first_line_after < 5  # 0.6 s on an idle machine; the budget is 1.5 s
    graph.wait_for(lambda: graph.helper.count_publishers("/diagnostics"), "its discovery")
    assert len(process.said("ERROR")) == 1
    assert "model.path '/no/such/model' does not exist" in process.lines[0]
    assert process.resident_megabytes() < 130
    libraries = process.loaded_libraries()
    assert "libtorch" not in libraries
    assert "cv2" not in libraries
    assert graph.helper.count_publishers("/action") == 0
    assert process.end(signal.SIGINT)[0] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_history_node_ends_cleanly(start: Any, graph: Any, number: signal.Signals) -> None:
    process = start("scripts/action_history_node")
    graph.wait_for(lambda: graph.helper.count_subscribers("/action"), "its discovery", timeout=30)
    code, seconds = process.end(number)
    assert (code, process.lines) == (0, [])
    assert seconds < 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_an_arm_that_the_bridge_moves(start: Any, graph: Any, number: signal.Signals) -> None:
    process = start("scripts/arm_bridge_node", "--ros-args", "-p", "timeout:=60.0")
    twists = graph.collect(TwistStamped, "twist", 1000)
    actions = graph.publisher(VLAAction, "action")
    graph.wait_for(lambda: graph.helper.count_publishers("/twist"), "its discovery", timeout=30)
    message = VLAAction(step_duration=Duration(sec=60))
    message.header.frame_id, message.header.stamp = "base_link", graph.helper.get_clock().now().to_msg()
    message.translation.x = 1.0
    actions.publish(message)
    graph.wait_for(lambda: twists and twists[-1].twist.linear.x > 0, "motion")
    code, seconds = process.end(number)
    assert code == 0
    assert seconds < 2
    assert process.said("ended after 1 actions")
    graph.wait_for(lambda: twists[-1].twist.linear.x == 0, "the stop")


@pytest.mark.fault(24)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_mid_inference_stops_the_arm_and_ends_within_two_seconds(
    start: Any, graph: Any, number: signal.Signals
) -> None:
    from sensor_msgs.msg import Image

    process = start("-c", HANGING_NODE)
    actions = graph.collect(VLAAction, "action", qos.action_listener())
    camera = graph.helper.create_publisher(Image, "image", 10)
    graph.helper.create_publisher(String, "instruction", qos.latched()).publish(String(data="go"))
    graph.wait_for(lambda: process.said("instruction 'go'"), "the instruction", timeout=30)
    graph.wait_for(
        lambda: camera.get_subscription_count() and graph.helper.count_publishers("/action"), "discovery"
    )
    camera.publish(graph.image())
    graph.wait_for(lambda: actions, "the first action")
    camera.publish(graph.image())
    graph.wait_for(lambda: process.said("hanging"), "the hanging inference")
    code, seconds = process.end(number)
    assert code == 0
    assert seconds < 2
    assert process.said("ended after")
    graph.wait_for(lambda: len(actions) == 2, "the stop action")
    assert actions[1].translation.x == 0.0
    assert actions[1].gripper == actions[0].gripper


def test_a_signal_during_a_goal_gives_it_a_result_before_the_process_ends(start: Any, graph: Any) -> None:
    from rclpy.action import ActionClient
    from sensor_msgs.msg import Image

    process = start("-c", HANGING_NODE)
    actions = graph.collect(VLAAction, "action", qos.action_listener())
    camera = graph.helper.create_publisher(Image, "image", 10)
    client: Any = graph.between(lambda: ActionClient(graph.helper, RunInstruction, "vla_node/run_instruction"))
    assert client.wait_for_server(30)
    graph.wait_for(
        lambda: camera.get_subscription_count() and graph.helper.count_publishers("/action"), "discovery"
    )
    time.sleep(0.3)  # the node has to find the client, too, or Fast DDS drops its answer
    sent = client.send_goal_async(RunInstruction.Goal(instruction="go"))
    graph.wait_for(sent.done, "the answer to the goal")
    result = sent.result().get_result_async()
    camera.publish(graph.image())
    graph.wait_for(lambda: actions, "the first action")
    code, seconds = process.end(signal.SIGTERM)
    assert code == 0
    assert seconds < 2
    graph.wait_for(result.done, "the result")
    ended = result.result().result
    assert (ended.termination_reason, ended.steps) == (RunInstruction.Result.DEACTIVATED, 1)
    assert ended.message == "the node shuts down"
    graph.wait_for(lambda: len(actions) == 2, "the stop action")
    assert actions[1].translation.x == 0.0
    graph.between(client.destroy)


def test_a_signal_while_a_model_loads_ends_within_two_seconds(start: Any, graph: Any) -> None:
    process = start("-c", SLOW_LOADING_NODE)
    graph.wait_for(lambda: process.said("loading"), "the load", timeout=30)
    code, seconds = process.end(signal.SIGTERM)
    assert code == 0
    assert seconds < 2
