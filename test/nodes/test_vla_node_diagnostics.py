"""The keys and levels of `/diagnostics`, which people plot and set alarms on, and what the log says beside."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import Log

from robovlms_ros.policy.types import ActionChunk
from robovlms_ros.ros import qos
from robovlms_ros.ros.interfaces import VLAAction
from robovlms_ros.ros.vla_status import FAULTS, ORDINARY

Start = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]
SCHEMA = Path(__file__).parent / "diagnostics_schema.json"
DOCUMENT = ROOT / "docs" / "diagnostics.md"
LEVELS = {b"\x00": "OK", b"\x01": "WARN", b"\x02": "ERROR"}
ALL = {"state.source": "topics", "state.gripper_joint": "finger", "state.gripper_open": 0.04}


def statuses(node: Any) -> dict[str, Any]:
    return {status.name.split(": ", 1)[1]: status for status in node.node._status()}


def pairs(status: Any) -> dict[str, str]:
    return {pair.key: pair.value for pair in status.values}


def schema(node: Any) -> dict[str, Any]:
    return {
        part: {"level": LEVELS[status.level], "keys": [pair.key for pair in status.values]}
        for part, status in statuses(node).items()
    }


@pytest.mark.fault(36)
def test_the_schema_is_the_one_that_is_written_down(vla: Start, scripted: Any) -> None:
    """UPDATE_SCHEMA=1 python -m pytest test/nodes/test_vla_node_diagnostics.py -k written  writes it down anew."""
    node = vla(scripted(cameras=("static", "hand")), state="unconfigured", parameters=ALL)
    found = {"unconfigured": schema(node)}
    assert node.transition("configure")
    found["inactive"] = schema(node)
    assert node.transition("activate")
    node.say("go")
    stamp = node.graph.now_ns()
    node.see(node.graph.image(stamp))
    node.see(node.graph.image(stamp), "image_hand")
    node.graph.wait_for(lambda: node.actions, "an action")
    found["acting"] = schema(node)
    for part in found["acting"]:
        assert found["inactive"][part]["keys"] == found["acting"][part]["keys"], "keys come and go"
    if os.environ.get("UPDATE_SCHEMA"):
        SCHEMA.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    assert found == json.loads(SCHEMA.read_text(encoding="utf-8")), "see the docstring; and docs/diagnostics.md"


def documented() -> dict[str, list[str]]:
    """Part -> keys of the tables of the document."""
    parts: dict[str, list[str]] = {}
    for section in re.split(r"^## ", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        name = section.split("\n", 1)[0].strip().strip("`")
        parts[name] = [key for row in re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE) for key in keys(row)]
    return parts


def keys(row: str) -> list[str]:
    return re.findall(r"`([^`]+)`", row)


def test_every_key_is_documented_and_nothing_else() -> None:
    acting = json.loads(SCHEMA.read_text(encoding="utf-8"))["acting"]
    acting["camera NAME"] = acting.pop("camera static")
    assert acting.pop("camera hand") == acting["camera NAME"]
    acting["state PART"] = acting.pop("state pose")
    assert acting.pop("state gripper")["keys"] == acting["state PART"]["keys"]
    tables = documented()
    for part, known in acting.items():
        assert tables[part] == known["keys"], part


def test_the_example_of_the_document_has_keys_that_exist() -> None:
    acting = json.loads(SCHEMA.read_text(encoding="utf-8"))["acting"]
    example = re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)[0]
    shown = re.findall(r"name: 'vla_node: (.*?)'(.*?)(?=- level|\Z)", example, re.DOTALL)
    assert [name for name, _ in shown] == [
        *("control", "drops", "latency", "limits", "history", "model", "camera static"),
    ]
    for name, text in shown:
        found = [key.strip("'") for key in re.findall(r"- key: (.*)", text)]
        assert found == acting[name]["keys"], name


def test_every_reason_for_a_drop_is_among_the_keys() -> None:
    counted = {
        "duplicate stamp",
        "backward stamp",
        "duplicate state",
        "backward state",
        "future stamp",
        "future state",
    }
    for path in [*(ROOT / "robovlms_ros" / "policy").glob("*.py"), *(ROOT / "robovlms_ros" / "ros").glob("*.py")]:
        if not path.name.startswith("arm_"):
            text = path.read_text(encoding="utf-8")
            counted |= set(re.findall(r"counts\[\"([^\"]+)\"\]", text))
            counted |= set(re.findall(r"ActionError\(\s*\"([^\"]+)\"", text))
    assert {"undecodable image", "inference failed", "unusable observation"} <= set(FAULTS)
    assert counted <= {*FAULTS, *ORDINARY}


# -- what the values say


def test_latencies_are_told_stage_by_stage(vla: Start, scripted: Any) -> None:
    timings = {"preprocess": 0.001, "vision": 0.002, "language": 0.003, "head": 0.004, "model": 0.009}

    def timed(_: Any, chunk: ActionChunk) -> ActionChunk:
        return ActionChunk(chunk.normalized, chunk.actions, timings)

    node = vla(scripted(timed))
    assert pairs(statuses(node)["latency"])["vision p50 (ms)"] == "nan"
    node.say("go")
    for _ in range(3):
        node.act()
    values = pairs(statuses(node)["latency"])
    for stage, seconds in timings.items():
        for figure in ("p50", "p95", "max"):
            assert float(values[f"{stage} {figure} (ms)"]) == pytest.approx(seconds * 1e3)
    for stage in ("image to action", "wait", "decode", "publish"):
        assert 0 < float(values[f"{stage} p50 (ms)"]) <= float(values[f"{stage} p95 (ms)"])
        assert float(values[f"{stage} p95 (ms)"]) <= float(values[f"{stage} max (ms)"])
    assert float(values["wait p50 (ms)"]) < float(values["image to action p50 (ms)"])


def test_a_model_that_asks_for_more_than_the_limits_is_told(vla: Start, scripted: Any) -> None:
    huge = np.array([[1.0, 0, 0, 0, 0, 0, 1.0]])
    node = vla(scripted(lambda _, chunk: ActionChunk(huge.astype(np.float32), huge, chunk.timings)))
    node.say("go")
    for _ in range(5):
        node.act()
    few = statuses(node)["limits"]
    assert (few.level, few.message) == (b"\x00", "some actions are limited")
    for _ in range(15):
        node.act()
    often = statuses(node)["limits"]
    assert (often.level, often.message) == (b"\x01", "most actions are limited in translation")
    values = pairs(often)
    assert (values["actions judged"], values["translation limited (share)"]) == ("20", "1.000")
    assert (values["rotation limited (share)"], values["translation limit (m)"]) == ("0.000", "0.050")


def test_what_is_dropped_is_told_once_and_counted_for_ever(vla: Start) -> None:
    node = vla()
    arrays = node.graph.collect(DiagnosticArray, "/diagnostics")

    def reports() -> list[Any]:
        return [status for array in arrays for status in array.status if status.name == "vla_node: drops"]

    node.say("go")
    node.see(node.graph.image(encoding="rgb9"))
    node.wait_for_count("undecodable image")
    node.graph.wait_for(lambda: reports() and pairs(reports()[-1])["undecodable image"] == "1", "the count")
    first = next(report for report in reports() if pairs(report)["undecodable image"] == "1")
    assert (first.level, first.message) == (b"\x01", "since the last report: undecodable image 1x")
    node.graph.wait_for(lambda: reports()[-1].level == b"\x00", "the next report")
    assert pairs(reports()[-1])["undecodable image"] == "1"


def test_the_rate_of_the_actions_is_told(vla: Start) -> None:
    node = vla()
    node.say("go")
    assert pairs(statuses(node)["control"])["actions per second"] == "0.000"
    for _ in range(5):
        node.act()
    assert 0 < float(pairs(statuses(node)["control"])["actions per second"]) < 1000


def test_the_goal_and_the_clock_are_told(vla: Start, client: Any) -> None:
    goal = client()
    end = goal.start(steps=1)
    assert pairs(statuses(goal.node)["control"])["goal"] == "running"
    goal.node.act()
    goal.end(end)
    assert pairs(statuses(goal.node)["control"])["goal"] == "MAX_STEPS: 1 of 1 actions were published"


def test_simulated_time_that_does_not_come_is_told(simulated: Any) -> None:
    node, clock = simulated
    assert pairs(statuses(node)["control"])["clock"] == "simulated, nothing on /clock yet"
    clock.set(node, 10**9)
    assert pairs(statuses(node)["control"])["clock"] == "simulated"


def test_a_subscriber_that_cannot_hear_the_actions_is_told(vla: Start) -> None:
    node = vla()
    node.graph.helper.create_subscription(VLAAction, "action", lambda action: None, qos.latched())
    key = "subscribers with incompatible QoS"
    node.graph.wait_for(lambda: pairs(statuses(node)["control"])[key] == "1", "the QoS event")


def test_the_model_card_is_told(vla: Start) -> None:
    values = pairs(statuses(vla())["model"])
    assert (values["model_id"], values["chunk"], values["cameras used"]) == ("null/none@0", "1", "static")
    assert (values["action frame"], values["step duration (s)"]) == ("base_link", "0.033")


# -- the log beside them


def test_a_hundred_bad_images_give_few_lines(vla: Start) -> None:
    node = vla()
    lines: list[Any] = node.graph.collect(Log, "/rosout", 1000)
    node.graph.wait_for(lambda: node.graph.helper.count_publishers("/rosout"), "the log")
    node.say("go")
    node.graph.wait_for(lambda: [line for line in lines if "instruction 'go'" in line.msg], "that lines arrive")
    before = len(lines)
    for count in range(1, 101):
        node.see(node.graph.image(encoding="rgb9"))
        node.wait_for_count("undecodable image", count)
    old = node.graph.image(node.graph.now_ns() - 10**10)
    for count in range(1, 101):
        node.see(old)
        node.wait_for_count("backward stamp", count)
    node.say("the end")
    node.graph.wait_for(lambda: [line for line in lines if "the end" in line.msg], "the last line")
    said = [line.msg for line in lines[before:] if line.name == "vla_node"]
    assert any("rgb9" in line for line in said)
    # Each kind once in five seconds, however long a busy machine takes for these.
    assert len(said) < 20, said


def test_a_camera_that_comes_and_goes_gives_one_line_each(vla: Start) -> None:
    node = vla(parameters={"images.max_age": 0.1, "watchdog.timeout": 0.1})
    lines: list[Any] = node.graph.collect(Log, "/rosout", 1000)
    node.say("go")
    node.graph.wait_for(lambda: [line for line in lines if "instruction 'go'" in line.msg], "that lines arrive")

    def said(text: str) -> int:
        return len([line for line in lines if text in line.msg])

    for round_ in range(1, 4):
        node.act()
        node.graph.wait_for(lambda r=round_: said("lost: no image on /image") == r, "camera lost")
        node.graph.wait_for(lambda r=round_: said("the arm is stopped") == r, "the stop")
        node.graph.stays(lambda r=round_: said("lost: no image on /image") == r, 0.2)
    assert said("recovered") == 2
