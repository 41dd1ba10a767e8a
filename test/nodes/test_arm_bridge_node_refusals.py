"""What the arm_bridge_node refuses, and how it tells: counts, diagnostics, log."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rcl_interfaces.msg import Log
from rclpy.parameter import Parameter

from robovlms_ros.ros.arm_bridge_status import REASONS
from robovlms_ros.ros.interfaces import VLAAction
from robovlms_ros.ros.messages import to_time

from .arm_bridge_bench import MS, SECOND, ArmBench, velocity

ROOT = Path(__file__).resolve().parents[2]
ALL = ["twist", "pose", "array", "trajectory"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"translation__x": math.nan}, "not finite"),
        ({"rotation__y": math.inf}, "not finite"),
        ({"gripper": math.nan}, "not finite"),
        ({"mode": 1}, "absolute action"),
        ({"mode": 7}, "unknown mode"),
        ({"rotation_format": 3}, "unknown rotation format"),
        ({"step_duration__nanosec": 0}, "no step duration"),
        ({"step_duration__sec": -1}, "no step duration"),
        ({"header__frame_id": ""}, "no frame"),
        ({"header__stamp": to_time(0)}, "stale action"),
        ({"header__stamp": to_time(2**31 * SECOND - 1)}, "future stamp"),
    ],
)
def test_what_must_not_reach_an_arm_is_refused_and_counted(
    graph: Any, changes: dict[str, Any], reason: str
) -> None:
    bench = ArmBench(graph, {"outputs": ALL})
    bench.act(**changes)
    assert bench.counts == {reason: 1}
    graph.stays(lambda: not (bench.twists or bench.poses or bench.arrays or bench.trajectories), 0.1)
    assert bench.node._status().message.startswith("refused an action: ")
    bench.act()
    bench.wait_for_twist(1)


def test_an_action_that_is_too_old_is_dropped(graph: Any) -> None:
    bench = ArmBench(graph, {"max_age": 0.5})
    bench.act(header__stamp=to_time(graph.now_ns() - 600 * MS))
    assert bench.counts == {"stale action": 1}
    assert str(bench.bridge.refusal).startswith("it answers an image that is ")
    graph.stays(lambda: not bench.twists, 0.1)


def test_without_a_tool_pose_there_is_no_target_and_diagnostics_say_why(graph: Any) -> None:
    bench = ArmBench(graph, {"outputs": ["pose"]})
    bench.act()
    assert bench.counts == {"no target: no tool pose": 1}
    assert bench.node._status().message == "no target: no tool pose has arrived yet"
    bench.see_tool(frame="world")
    bench.act()
    expected = "no target: the action is in frame 'base_link' and the tool pose in 'world'"
    assert bench.node._status().message == expected
    assert not bench.poses
    bench.see_tool()
    bench.act()
    graph.wait_for(lambda: bench.poses, "a target")


def test_a_tool_pose_that_is_none_is_counted_and_not_used(graph: Any) -> None:
    bench = ArmBench(graph, {"outputs": ["pose"]})
    message = PoseStamped()
    message.pose.position.x = math.nan
    bench.tool.publish(message)
    bench.wait_for_count("invalid tool pose")
    assert bench.bridge.pose.tool_ns is None


def test_lost_actions_are_counted_and_overtaken_ones_dropped(graph: Any) -> None:
    bench = ArmBench(graph)
    bench.act()
    bench.act(sequence=4)
    bench.act(sequence=3, header__stamp=to_time(graph.now_ns() - 500 * MS))
    assert bench.counts == {"actions lost": 3, "out of order": 1}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"gripper.closed": [0.0, 0.0, 0.0]}, "gripper.closed has 3 positions for 1 gripper.joints"),
        ({"outputs": ["twist", "torque"]}, "outputs must be one or more of twist, pose, array, trajectory"),
        ({"limits.linear": -1.0}, "limits.linear"),
    ],
)
def test_with_a_wrong_parameter_nothing_is_sent_and_diagnostics_say_why(
    graph: Any, wrong: dict[str, Any], says: str
) -> None:
    bench = ArmBench(graph, wrong)
    bench.act()
    assert bench.counts == {"wrong parameters": 1}
    assert says in bench.node._status().message
    graph.stays(lambda: not (bench.twists or bench.arrays), 0.1)


def test_a_wrong_limit_can_be_corrected_live(graph: Any) -> None:
    bench = ArmBench(graph, {"limits.linear": -1.0})
    assert bench.node.set_parameters([Parameter("limits.linear", value=0.1)])[0].successful
    bench.act()
    assert velocity(bench.wait_for_twist(1))[0] == pytest.approx(0.1)


def test_what_decides_about_topics_cannot_change_live(graph: Any) -> None:
    bench = ArmBench(graph)
    assert not bench.node.set_parameters([Parameter("outputs", value=["pose"])])[0].successful


def test_diagnostics_count_what_happened(graph: Any) -> None:
    bench = ArmBench(graph)
    arrays = graph.collect(DiagnosticArray, "/diagnostics")
    bench.act()
    bench.act(gripper=math.nan)
    bench.act()
    arrays.clear()
    graph.wait_for(lambda: arrays, "diagnostics")
    (status,) = arrays[0].status
    assert (status.name, status.level) == ("arm_bridge_node: commands", b"\x00")
    values = {pair.key: pair.value for pair in status.values}
    assert values["actions received"] == "3"
    assert values["actions executed"] == "2"
    assert values["count of not finite"] == "1"
    assert values["newest sequence"] == "2"
    assert values["subscribers of /twist"] == "1"
    assert values["publishers of actions"] == "1"
    assert float(values["age of the newest executed (ms)"]) >= 0


def test_the_document_explains_every_key_and_no_other(graph: Any) -> None:
    status = ArmBench(graph, {"outputs": ["twist"]}).node._status()
    keys = {pair.key.replace("subscribers of /twist", "subscribers of TOPIC") for pair in status.values}
    document = (ROOT / "docs" / "arm-bridge.md").read_text(encoding="utf-8")
    section = document.split("## Diagnostics, key by key")[1].split("\n## ")[0]
    explained = [
        re.findall(r"`([^`]+)`", line.split("|")[1]) for line in section.splitlines() if line[:3] == "| `"
    ]
    assert {key for line in explained for key in line} == keys


def test_everything_that_is_counted_has_a_key() -> None:
    found = set()
    # Those of `arm_command_input` are sim_node's.
    parts = [path for path in ROOT.glob("robovlms_ros/*/arm_*.py") if path.stem != "arm_command_input"]
    for path in (*parts, ROOT / "robovlms_ros" / "nodes" / "arm_bridge_node.py"):
        text = path.read_text(encoding="utf-8")
        found |= set(re.findall(r'CommandError\(\s*"([^"]+)"', text)) | set(
            re.findall(r'counts\["([^"]+)"\]', text)
        )
    # What only a target can lack is counted with that name in front.
    targets = {"no tool pose", "frames differ", "tool pose too old"}
    assert found >= targets
    assert found - targets == {reason for reason in REASONS if not reason.startswith("no target: ")}


def test_logs_tell_when_refusals_begin_and_end(graph: Any) -> None:
    bench = ArmBench(graph, {"timeout": 0.2})
    logs = graph.collect(Log, "/rosout", 100)
    graph.wait_for(lambda: bench.node.count_subscribers("/rosout"), "who hears the log")

    def said() -> list[str]:
        return [log.msg.split(":")[0] for log in logs if log.name == "arm_bridge_node"]

    for gripper in (math.nan, math.nan, math.nan, 1.0, 1.0):
        bench.act(gripper=gripper)
    graph.wait_for(lambda: "no new action in time" in said(), "the end of the motion")
    bench.act()
    expected = [
        "refused an action",
        "actions are executed again",
        "no new action in time",
        "new actions arrive again",
    ]
    graph.wait_for(lambda: said() == expected, f"four lines, not {said()}")


def test_two_sources_of_actions_are_reported(graph: Any) -> None:
    bench = ArmBench(graph)
    graph.helper.create_publisher(VLAAction, "action", 10)
    message = "2 publishers of actions: only one may drive an arm"
    graph.wait_for(lambda: bench.node._status().message == message, message)
