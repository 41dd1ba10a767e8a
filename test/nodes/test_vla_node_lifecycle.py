"""Transitions of the vla_node: bounded, repeatable, and clear about what failed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from robovlms_ros.model.errors import ModelError
from robovlms_ros.policy.null_policy import NullPolicy
from robovlms_ros.policy.types import ActionChunk

Start = Callable[..., Any]


def request(node: Any, transition: int) -> bool:
    """Ask for a transition as `ros2 lifecycle set` does."""
    asked = ChangeState.Request(transition=Transition(id=transition))
    return bool(node.graph.call(ChangeState, "vla_node/change_state", asked).success)


def configure(node: Any) -> bool:
    return bool(node.transition("configure"))


def activate(node: Any) -> bool:
    return bool(node.transition("activate"))


def deactivate(node: Any) -> bool:
    return bool(node.transition("deactivate"))


def cleanup(node: Any) -> bool:
    return bool(node.transition("cleanup"))


def entities(node: Any) -> tuple[int, ...]:
    ros = node.node
    return tuple(len(list(each)) for each in (ros.subscriptions, ros.publishers, ros.timers, ros.guards))


def test_services_walk_through_all_states(vla: Start) -> None:
    node = vla(state="unconfigured")
    for transition, state in (
        (Transition.TRANSITION_CONFIGURE, "inactive"),
        (Transition.TRANSITION_ACTIVATE, "active"),
        (Transition.TRANSITION_DEACTIVATE, "inactive"),
        (Transition.TRANSITION_CLEANUP, "unconfigured"),
    ):
        assert request(node, transition)
        answer = node.graph.call(GetState, "vla_node/get_state", GetState.Request())
        assert (answer.current_state.label, node.state) == (state, state)


@pytest.mark.fault(19)
def test_twenty_cycles_leak_neither_threads_nor_entities(vla: Start) -> None:
    node = vla(state="unconfigured")
    before = entities(node)
    threads = threading.active_count()
    for _ in range(20):
        assert configure(node)
        assert activate(node)
        node._speaker = None
        assert deactivate(node)
        assert cleanup(node)
        assert entities(node) == before
    assert threading.active_count() == threads


@pytest.mark.fault(21)
def test_invalid_transitions_are_refused_and_change_nothing(vla: Start) -> None:
    node = vla(state="unconfigured")
    assert not request(node, Transition.TRANSITION_ACTIVATE)
    assert not request(node, Transition.TRANSITION_DEACTIVATE)
    assert configure(node)
    assert not request(node, Transition.TRANSITION_CONFIGURE)
    assert node.state == "inactive"
    assert activate(node)


def test_an_inactive_node_publishes_nothing(vla: Start) -> None:
    node = vla(state="unconfigured")
    configure(node)
    node.say("go")
    node.see()
    node.graph.wait_for(lambda: node.node._runtime.inputs[0].monitor.received, "the image's arrival")
    node.graph.stays(lambda: not node.actions, 0.2)
    activate(node)
    assert node.act()


def test_without_any_model_the_node_stays_unconfigured_and_says_what_to_do(
    vla: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    from robovlms_ros.policy import policy_loader
    from robovlms_ros.policy.policy_loader import load_policy

    monkeypatch.setattr(policy_loader, "find_shared", lambda *parts: None)
    node = vla(load_policy, state="unconfigured")
    assert not configure(node)
    assert node.state == "unconfigured"
    assert "set the parameter model.path" in node.node.last_error
    status = node.node._status()[0]
    assert (status.level, status.message) == (b"\x02", node.node.last_error)


@pytest.mark.fault(14)
@pytest.mark.parametrize("kind", ["missing", "file", "empty folder"])
def test_a_path_without_a_model_is_named_in_the_error(vla: Start, tmp_path: Any, kind: str) -> None:
    from robovlms_ros.policy.policy_loader import load_policy

    path = tmp_path / "model"
    if kind == "file":
        path.write_bytes(b"")
    elif kind == "empty folder":
        pytest.importorskip("torch")
        path.mkdir()
    node = vla(load_policy, state="unconfigured", parameters={"model.path": str(path)})
    assert not configure(node)
    assert node.state == "unconfigured"
    assert str(path) in node.node.last_error
    assert "unexpected" not in node.node.last_error


@pytest.mark.fault(20)
def test_a_failed_configuration_succeeds_after_the_parameter_is_corrected(vla: Start) -> None:
    def factory(values: Any) -> NullPolicy:
        if values["model.path"] != "/good":
            raise ModelError(f"no model in {values['model.path']!r}")
        return NullPolicy()

    node = vla(factory, state="unconfigured", parameters={"model.path": "/bad"})
    before = entities(node)
    assert not configure(node)
    assert node.node.last_error == "cannot configure: no model in '/bad'"
    assert entities(node) == before
    assert node.node.set_parameters([Parameter("model.path", value="/good")])[0].successful
    assert configure(node)
    assert node.node.last_error == ""
    refused = node.node.set_parameters([Parameter("model.path", value="/other")])[0]
    assert not refused.successful
    assert "clean the node up first" in refused.reason


def test_a_wrong_parameter_at_start_fails_configure_and_is_named(vla: Start) -> None:
    node = vla(state="unconfigured", parameters={"rate": -3.0})
    assert not configure(node)
    assert "rate" in node.node.last_error
    node.node.set_parameters([Parameter("rate", value=5.0)])
    assert configure(node)


def test_a_policy_that_fails_its_warm_up_is_not_configured(vla: Start) -> None:
    class Broken(NullPolicy):
        def session(self, execute_horizon: int = 1) -> Any:
            session = super().session(execute_horizon)

            class NotANumber:
                reset = session.reset

                def step(self, observation: Any) -> ActionChunk:
                    chunk = session.step(observation)
                    return ActionChunk(chunk.normalized, chunk.actions * np.nan)

            return NotANumber()

    node = vla(Broken(), state="unconfigured")
    assert not configure(node)
    assert "nan in dimension 0" in node.node.last_error


def test_reset_of_an_unconfigured_node_says_why_not(vla: Start) -> None:
    node = vla(state="unconfigured")
    answer = node.graph.call(Trigger, "vla_node/reset", Trigger.Request())
    assert not answer.success
    assert "not configured" in answer.message


def test_a_topic_that_cannot_be_created_leaves_nothing_behind(vla: Start) -> None:
    node = vla(state="unconfigured")
    before = entities(node)
    create, node.node.create_subscription = node.node.create_subscription, None
    assert not configure(node)
    assert entities(node) == before
    node.node.create_subscription = create
    assert configure(node)
