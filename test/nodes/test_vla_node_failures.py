"""Outputs of a policy that must not become motion, and what a policy that fails does to the node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from robovlms_ros.model.errors import ObservationError
from robovlms_ros.policy.types import ActionChunk

Start = Callable[..., Any]


def fail_when(condition: Callable[[int], bool], error: Exception) -> Callable[..., ActionChunk]:
    calls = iter(range(10**6))

    def script(_: Any, chunk: ActionChunk) -> ActionChunk:
        if condition(next(calls)):
            raise error
        return chunk

    return script


@pytest.mark.fault(16)
def test_one_failure_recovers(vla: Start, scripted: Any) -> None:
    node = vla(scripted(fail_when(lambda call: call == 1, RuntimeError("once"))))
    node.say("go")
    node.act()
    node.see()
    node.wait_for_count("inference failed")
    action = node.act()
    assert (action.episode, action.sequence) == (1, 0)
    assert node.state == "active"


@pytest.mark.fault(16)
def test_failures_in_a_row_deactivate_the_node_which_says_why(vla: Start, scripted: Any) -> None:
    node = vla(
        scripted(fail_when(lambda _: True, RuntimeError("out of memory"))), parameters={"watchdog.max_failures": 3}
    )
    node.say("go")
    for failure in range(1, 4):
        node.see()
        node.wait_for_count("inference failed", failure)
    node.wait_until("inactive")
    status = node.node._status()[0]
    assert status.level == b"\x02"
    assert "3 inferences in a row failed, the last with: out of memory" in status.message
    assert not node.actions
    node.policy.script = None
    assert node.transition("activate")
    assert node.act()


@pytest.mark.fault(1)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dimension", range(7))
def test_an_output_that_is_not_finite_is_never_published(
    vla: Start, scripted: Any, dimension: int, value: float
) -> None:
    poisoned = [True]

    def poison(_: Any, chunk: ActionChunk) -> ActionChunk:
        actions = chunk.actions.copy()
        actions[0, dimension] = value if poisoned[0] else actions[0, dimension]
        return ActionChunk(chunk.normalized, actions, chunk.timings)

    node = vla(scripted(poison))
    node.say("go")
    node.see()
    node.wait_for_count("not finite")
    poisoned[0] = False
    assert node.act()
    assert len(node.actions) == 1


@pytest.mark.fault(2)
@pytest.mark.parametrize("shape", [(1, 6), (1, 8), (0, 7)])
def test_an_output_of_the_wrong_shape_is_never_published(
    vla: Start, scripted: Any, shape: tuple[int, int]
) -> None:
    node = vla(scripted(lambda _, chunk: ActionChunk(np.zeros(shape, np.float32), np.zeros(shape))))
    node.say("go")
    node.see()
    node.wait_for_count("wrong shape")
    assert not node.actions


@pytest.mark.fault(3)
def test_a_huge_output_is_limited_and_marked(vla: Start, scripted: Any) -> None:
    huge = np.array([[1e9, 0, 0, 0, 0, 0, 1.0]])
    node = vla(scripted(lambda _, chunk: ActionChunk(huge.astype(np.float32), huge, {"model": 0.1})))
    node.say("go")
    action = node.act()
    assert (action.translation.x, action.translation.y, action.saturated) == (0.05, 0.0, 1)


def test_an_observation_that_the_model_cannot_take_is_no_failure_of_the_model(vla: Start, scripted: Any) -> None:
    refusal = ObservationError("the instruction has 200 tokens, the model takes 64")
    node = vla(scripted(fail_when(lambda call: call < 9, refusal)), parameters={"watchdog.max_failures": 3})
    node.say("go")
    for count in range(1, 10):
        node.see()
        node.wait_for_count("unusable observation", count)
    action = node.act()
    assert (node.state, action.episode) == ("active", 0)
