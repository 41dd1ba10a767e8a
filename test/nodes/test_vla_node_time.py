"""Stamps, ages and clocks of the vla_node."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("rclpy")
from rcl_interfaces.msg import Log

from robovlms_ros.ros.messages import to_nanoseconds

Start = Callable[..., Any]
SECOND = 1_000_000_000


@pytest.mark.fault(7)
def test_an_image_older_than_max_age_is_not_acted_on(vla: Start) -> None:
    node = vla()
    node.say("go")
    node.see(node.graph.image(node.graph.now_ns() - 2 * SECOND))
    node.wait_for_count("stale image")
    assert node.act().sequence == 0
    assert len(node.policy.seen) == 1


@pytest.mark.fault(9)
def test_the_same_stamp_is_answered_once(vla: Start) -> None:
    node = vla()
    node.say("go")
    image = node.see()
    node.graph.wait_for(lambda: node.actions, "an action")
    node.see(image)
    node.wait_for_count("duplicate stamp")
    assert len(node.actions) == 1


@pytest.mark.fault(9)
def test_stamps_that_go_back_or_lie_in_the_future_are_refused(vla: Start) -> None:
    node = vla()
    node.say("go")
    now = to_nanoseconds(node.act().header.stamp)
    node.see(node.graph.image(now - 1))
    node.wait_for_count("backward stamp")
    node.see(node.graph.image(now + 60 * SECOND))
    node.wait_for_count("future stamp")
    assert node.act().sequence == 1


@pytest.mark.fault(9)
def test_an_image_without_a_stamp_counts_as_taken_on_arrival(vla: Start) -> None:
    node = vla()
    node.say("go")
    before = node.graph.now_ns()
    node.see(node.graph.image(0))
    node.graph.wait_for(lambda: node.actions, "an action")
    assert before < to_nanoseconds(node.actions[0].header.stamp) < node.graph.now_ns()
    assert node.node._runtime.inputs[0].unstamped == 1


@pytest.mark.fault(7)
def test_the_arm_is_stopped_once_when_the_camera_stops_and_goes_on_when_it_returns(vla: Start) -> None:
    node = vla(parameters={"watchdog.timeout": 0.2, "images.max_age": 0.2})
    node.say("go")
    moving = node.act()
    node.graph.wait_for(lambda: len(node.actions) == 2, "the stop action")
    stop = node.actions[1]
    assert (stop.translation.x, stop.rotation.x, stop.gripper) == (0.0, 0.0, moving.gripper)
    assert stop.sequence == 1
    node.graph.stays(lambda: len(node.actions) == 2, 0.4)
    status = node.node._status()[0]
    assert status.message == "waiting for images"
    assert node.act().sequence == 2


@pytest.mark.fault(7)
def test_a_camera_that_stops_is_reported_within_its_age_and_so_is_its_return(vla: Start) -> None:
    node = vla(parameters={"watchdog.timeout": 0.2, "images.max_age": 0.3})
    logs = node.graph.collect(Log, "/rosout", 100)
    node.say("go")
    node.act()
    seen = time.monotonic()

    def camera() -> Any:
        return next(status for status in node.node._status() if status.name == "vla_node: camera static")

    node.graph.wait_for(lambda: camera().level == b"\x01", "the warning")
    assert time.monotonic() - seen > 0.25
    assert camera().message.startswith("no image on /image for ")
    node.graph.wait_for(lambda: len(node.actions) == 2, "the stop action")
    node.graph.stays(lambda: len(node.actions) == 2, 0.3)
    for _ in range(3):
        node.act()
    assert camera().level == b"\x00"

    def logged(text: str) -> int:
        return sum(text in log.msg for log in logs)

    node.graph.wait_for(lambda: logged("camera 'static' recovered"), "the log")
    assert (logged("camera 'static' lost"), logged("camera 'static' recovered")) == (1, 1)


@pytest.mark.fault(11)
def test_without_a_clock_nothing_is_published_and_diagnostics_say_why(simulated: Any) -> None:
    node, _ = simulated
    node.say("go")
    node.see(node.graph.image(SECOND))
    node.graph.wait_for(lambda: node.node._runtime.inputs[0].monitor.received, "the image's arrival")
    node.graph.stays(lambda: not node.actions, 0.2)
    assert node.node._status()[0].message == "waiting for clock"


def test_ages_are_measured_on_simulated_time(simulated: Any) -> None:
    node, clock = simulated
    clock.set(node, 100 * SECOND)
    node.say("go")
    node.see(node.graph.image(100 * SECOND - SECOND // 10))
    node.graph.wait_for(lambda: node.actions, "an action")
    assert to_nanoseconds(node.actions[0].latency) == SECOND // 10
    clock.set(node, 103 * SECOND)
    node.see(node.graph.image(101 * SECOND))
    node.wait_for_count("stale image")


@pytest.mark.fault(10)
def test_a_bag_that_loops_starts_an_episode_and_stops_nothing(simulated: Any) -> None:
    node, clock = simulated
    clock.set(node, 100 * SECOND)
    node.say("go")
    node.see(node.graph.image(100 * SECOND))
    node.graph.wait_for(lambda: node.actions, "an action")
    clock.set(node, 10 * SECOND)
    clock.set(node, 20 * SECOND)
    node.see(node.graph.image(20 * SECOND))
    node.graph.wait_for(lambda: len(node.actions) == 2, "an action of the second loop")
    again = node.actions[1]
    assert (again.episode, again.sequence) == (1, 0)
    assert to_nanoseconds(again.header.stamp) == 20 * SECOND


def test_the_watchdog_waits_in_simulated_time(simulated: Any) -> None:
    node, clock = simulated
    clock.set(node, 100 * SECOND)
    node.say("go")
    node.see(node.graph.image(100 * SECOND))
    node.graph.wait_for(lambda: node.actions, "an action")
    clock.set(node, 105 * SECOND)
    node.graph.stays(lambda: len(node.actions) == 1, 0.15)
    clock.set(node, 105 * SECOND + 1)
    node.graph.wait_for(lambda: len(node.actions) == 2, "the stop action")


def test_diagnostics_come_once_a_second_and_name_what_is_wrong(vla: Start) -> None:
    from diagnostic_msgs.msg import DiagnosticArray

    node = vla()
    arrays = node.graph.collect(DiagnosticArray, "/diagnostics")
    node.say("go")
    node.see(node.graph.image(encoding="rgb9"))
    node.wait_for_count("undecodable image")
    node.act()
    node.graph.wait_for(lambda: arrays, "diagnostics")
    arrays.clear()
    started = time.monotonic()
    node.graph.wait_for(lambda: len(arrays) == 2, "two more")
    assert time.monotonic() - started < 3
    statuses = {status.name: status for status in arrays[0].status}
    parts = ("control", "drops", "latency", "limits", "history", "model", "camera static")
    assert list(statuses) == [f"vla_node: {part}" for part in parts]
    control = {pair.key: pair.value for pair in statuses["vla_node: control"].values}
    assert control["state"] == "active"
    assert (control["clock"], control["goal"], control["chunk mode"]) == ("system", "none yet", "first")
    assert int(control["actions published"]) >= 1
    drops = {pair.key: pair.value for pair in statuses["vla_node: drops"].values}
    assert drops["undecodable image"] == "1"
    camera = {pair.key: pair.value for pair in statuses["vla_node: camera static"].values}
    assert camera["topic"] == "/image"
    assert camera["frames received"] == "2"
