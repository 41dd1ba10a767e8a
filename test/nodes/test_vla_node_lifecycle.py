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

from robovlms_ros.model.errors import ModelError, ObservationError
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


def test_without_a_model_path_the_node_stays_unconfigured_and_says_what_to_do(vla: Start) -> None:
    from robovlms_ros.ros.policy_loader import load_policy

    node = vla(load_policy, state="unconfigured")
    assert not configure(node)
    assert node.state == "unconfigured"
    assert "set the parameter model.path" in node.node.last_error
    status = node.node._status()[0]
    assert (status.level, status.message) == (b"\x02", node.node.last_error)


@pytest.mark.parametrize("kind", ["missing", "file", "empty folder"])
def test_a_path_without_a_model_is_named_in_the_error(vla: Start, tmp_path: Any, kind: str) -> None:
    from robovlms_ros.ros.policy_loader import load_policy

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


# -- while an inference runs


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


def test_nothing_is_published_after_deactivate_not_even_what_was_on_its_way(busy: Any) -> None:
    thread = busy.node._runtime.thread
    assert deactivate(busy)
    busy.release.set()
    busy.graph.wait_for(lambda: not thread.busy_for, "the end of the inference")
    busy.graph.stays(lambda: not busy.actions, 0.2)


def test_an_active_node_is_not_started_again_while_its_last_inference_runs(busy: Any) -> None:
    assert deactivate(busy)
    assert not activate(busy)
    assert busy.state == "inactive"
    assert "an inference has been running" in busy.node.last_error
    busy.release.set()
    busy.graph.wait_for(lambda: not busy.node._runtime.thread.busy_for, "the end of the inference")
    busy.graph.wait_for(lambda: activate(busy), "activation")


def test_cleanup_while_an_inference_hangs_gives_everything_back(busy: Any) -> None:
    assert deactivate(busy)
    assert cleanup(busy)
    assert busy.node._runtime is None
    assert configure(busy)
    assert activate(busy)


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


def test_deactivating_a_moving_arm_stops_it(vla: Start) -> None:
    node = vla()
    node.say("go")
    moving = node.act()
    assert deactivate(node)
    node.graph.wait_for(lambda: len(node.actions) == 2, "the stop action")
    assert node.actions[1].translation.x == 0.0
    assert node.actions[1].gripper == moving.gripper


# -- a policy that fails


def fail_when(condition: Callable[[int], bool], error: Exception) -> Callable[..., ActionChunk]:
    calls = iter(range(10**6))

    def script(_: Any, chunk: ActionChunk) -> ActionChunk:
        if condition(next(calls)):
            raise error
        return chunk

    return script


def test_one_failure_recovers(vla: Start, scripted: Any) -> None:
    node = vla(scripted(fail_when(lambda call: call == 1, RuntimeError("once"))))
    node.say("go")
    node.act()
    node.see()
    node.wait_for_count("inference failed")
    action = node.act()
    assert (action.episode, action.sequence) == (1, 0)
    assert node.state == "active"


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
    assert activate(node)
    assert node.act()


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


@pytest.mark.parametrize("shape", [(1, 6), (1, 8), (0, 7)])
def test_an_output_of_the_wrong_shape_is_never_published(
    vla: Start, scripted: Any, shape: tuple[int, int]
) -> None:
    node = vla(scripted(lambda _, chunk: ActionChunk(np.zeros(shape, np.float32), np.zeros(shape))))
    node.say("go")
    node.see()
    node.wait_for_count("wrong shape")
    assert not node.actions


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
