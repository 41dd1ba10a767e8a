"""The arm_bridge_node on simulated time, where every moment is exact."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

pytest.importorskip("rclpy")
import numpy as np

from robovlms_ros.ros.messages import to_time

from .arm_bridge_bench import MS, SECOND, ArmBench, stamp, velocity

START = 100 * SECOND


@pytest.fixture
def simulated(graph: Any) -> Any:
    def start(**parameters: Any) -> ArmBench:
        given = {name.replace("__", "."): value for name, value in parameters.items()}
        bench = ArmBench(graph, {"use_sim_time": True, "timeout": 5.0} | given)
        bench.set_clock(START)
        return bench

    return start


def test_without_a_clock_nothing_is_sent_and_diagnostics_say_why(graph: Any) -> None:
    bench = ArmBench(graph, {"use_sim_time": True})
    bench.act(header__stamp=to_time(0))
    assert bench.counts == {"no clock": 1}
    assert bench.node._status().message == "waiting for clock"
    graph.stays(lambda: not bench.twists, 0.1)


@pytest.mark.parametrize("rate", [0.0, 50.0])
def test_what_is_sent_over_time_adds_up_to_the_displacement(simulated: Any, rate: float) -> None:
    bench = simulated(twist__repeat_rate=rate)
    bench.act()
    for elapsed in range(10, 160, 10):
        bench.set_clock(START + elapsed * MS)
    expected = [0, 20, 40, 60, 80, 100] if rate else [0, 100]
    bench.wait_for_twist(len(expected))
    assert [(stamp(each) - START) // MS for each in bench.twists] == expected
    pairs = itertools.pairwise(bench.twists)
    travelled = [np.array(velocity(now)) * (stamp(then) - stamp(now)) * 1e-9 for now, then in pairs]
    np.testing.assert_allclose(np.sum(travelled, axis=0), [0.02, 0, 0, 0, 0, 0.1], atol=1e-12)


def test_a_velocity_is_held_for_so_many_steps_and_no_longer(simulated: Any) -> None:
    bench = simulated(twist__hold=1.5, twist__repeat_rate=0.0)
    bench.act()
    bench.set_clock(START + 149 * MS)
    bench.graph.stays(lambda: len(bench.twists) == 1, 0.1)
    bench.set_clock(START + 150 * MS)
    assert velocity(bench.wait_for_twist(2)) == [0.0] * 6


def test_a_target_goes_its_way_in_time(simulated: Any) -> None:
    bench = simulated(outputs=["pose"], pose__rate=25.0)
    bench.see_tool(0.5)
    bench.act()
    for elapsed in range(20, 140, 20):
        bench.set_clock(START + elapsed * MS)
    bench.graph.wait_for(lambda: len(bench.poses) == 3, "three targets")
    assert [(stamp(each) - START) // MS for each in bench.poses] == [40, 80, 100]
    np.testing.assert_allclose([each.pose.position.x for each in bench.poses], [0.508, 0.516, 0.52])


def test_ages_are_measured_on_simulated_time(simulated: Any) -> None:
    bench = simulated(max_age=1.0)
    bench.act(header__stamp=to_time(START - SECOND))
    bench.act(header__stamp=to_time(START - SECOND - 1))
    assert bench.counts == {"stale action": 1}
    assert bench.bridge.executed == 1


def test_the_watchdog_waits_in_simulated_time(simulated: Any) -> None:
    bench = simulated(timeout=2.0, twist__repeat_rate=0.0)
    bench.act(step_duration__sec=60)
    bench.set_clock(START + 2 * SECOND - 1)
    bench.graph.stays(lambda: len(bench.twists) == 1, 0.15)
    bench.set_clock(START + 2 * SECOND)
    assert velocity(bench.wait_for_twist(2)) == [0.0] * 6


def test_a_clock_that_is_set_back_stops_the_arm(simulated: Any) -> None:
    bench = simulated(twist__repeat_rate=0.0)
    bench.act(step_duration__sec=60)
    bench.set_clock(START - 50 * SECOND)
    assert velocity(bench.wait_for_twist(2)) == [0.0] * 6
    assert bench.counts == {"clock jump": 1}
    bench.act()
    assert any(velocity(bench.wait_for_twist(3)))
