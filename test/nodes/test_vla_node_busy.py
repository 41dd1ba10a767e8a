"""Transitions, services and stops of the vla_node while an inference runs or hangs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("rclpy")
from std_srvs.srv import Trigger

Start = Callable[..., Any]


@pytest.fixture
def busy(vla: Start, scripted: Any) -> Any:
    """A node in the middle of an inference that ends when ``node.release`` is set."""
    release = threading.Event()

    def wait(_: Any, chunk: Any) -> Any:
        assert release.wait(20)
        return chunk

    node = vla(scripted(wait))
    node.release = release
    node.say("go")
    node.see()
    node.graph.wait_for(lambda: node.policy.seen, "the inference")
    yield node
    release.set()


@pytest.mark.fault(22)
def test_nothing_is_published_after_deactivate_not_even_what_was_on_its_way(busy: Any) -> None:
    thread = busy.node._runtime.thread
    assert busy.transition("deactivate")
    busy.release.set()
    busy.graph.wait_for(lambda: not thread.busy_for, "the end of the inference")
    busy.graph.stays(lambda: not busy.actions, 0.2)


def test_an_active_node_is_not_started_again_while_its_last_inference_runs(busy: Any) -> None:
    assert busy.transition("deactivate")
    assert not busy.transition("activate")
    assert busy.state == "inactive"
    assert "an inference has been running" in busy.node.last_error
    busy.release.set()
    busy.graph.wait_for(lambda: not busy.node._runtime.thread.busy_for, "the end of the inference")
    busy.graph.wait_for(lambda: busy.transition("activate"), "activation")


@pytest.mark.fault(23)
def test_cleanup_while_an_inference_hangs_gives_everything_back(busy: Any) -> None:
    assert busy.transition("deactivate")
    assert busy.transition("cleanup")
    assert busy.node._runtime is None
    assert busy.transition("configure")
    assert busy.transition("activate")


@pytest.mark.fault(23)
def test_the_late_answer_of_a_node_that_was_cleaned_up_belongs_to_nobody(busy: Any) -> None:
    old = busy.node._runtime.thread
    for transition in ("deactivate", "cleanup", "configure", "activate"):
        assert busy.transition(transition)
    busy.release.set()
    busy.graph.wait_for(lambda: not old.busy_for, "the end of the inference")
    busy.graph.stays(lambda: not busy.actions, 0.2)
    busy.node._runtime.controller.counts.clear()
    busy._speaker = None
    busy.say("again")
    assert busy.act().instruction == "again"
    assert len(busy.actions) == 1


@pytest.mark.fault(17)
def test_services_answer_and_diagnostics_tell_while_an_inference_hangs(vla: Start, scripted: Any) -> None:
    release = threading.Event()

    def hang(_: Any, chunk: Any) -> Any:
        assert release.wait(20)
        return chunk

    node = vla(scripted(hang), parameters={"watchdog.inference_timeout": 0.1})
    node.say("go")
    node.see()
    node.graph.wait_for(lambda: node.node._runtime.thread.busy_for > 0.1, "the hang")
    status = node.node._status()[0]
    assert status.level == b"\x02"
    assert "an inference has been running" in status.message
    assert node.graph.call(Trigger, "vla_node/reset", Trigger.Request()).success
    release.set()
    node.wait_for_count("superseded during inference")


@pytest.mark.fault(17)
def test_nothing_comes_of_an_inference_that_hung(vla: Start, scripted: Any) -> None:
    release = threading.Event()

    def hang(_: Any, chunk: Any) -> Any:
        assert release.wait(20)
        return chunk

    node = vla(scripted(hang), parameters={"watchdog.inference_timeout": 0.1})
    node.say("go")
    node.see()
    node.graph.wait_for(lambda: node.node._runtime.thread.busy_for > 0.15, "the hang")
    release.set()
    node.wait_for_count("answer of a hung inference")
    assert not node.actions
    assert node.act().sequence == 0


def test_deactivating_a_moving_arm_stops_it(vla: Start) -> None:
    node = vla()
    node.say("go")
    moving = node.act()
    assert node.transition("deactivate")
    node.graph.wait_for(lambda: len(node.actions) == 2, "the stop action")
    assert node.actions[1].translation.x == 0.0
    assert node.actions[1].gripper == moving.gripper
