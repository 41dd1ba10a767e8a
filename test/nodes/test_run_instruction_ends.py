"""What else may end a goal of `~/run_instruction`, and what the arm is told then."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("rclpy")
from action_msgs.msg import GoalStatus
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from robovlms_ros.ros.interfaces import RunInstruction

Start = Callable[..., Any]
SECOND = 1_000_000_000
Result = RunInstruction.Result


def aborted(goal: Any, end: Any, reason: int, steps: int) -> Any:
    result, status = goal.end(end)
    assert (status, result.termination_reason, result.steps) == (GoalStatus.STATUS_ABORTED, reason, steps)
    return result


def test_another_instruction_takes_over_and_is_followed(client: Any) -> None:
    goal = client()
    end = goal.start()
    goal.node.act()
    goal.node.say("push")
    result = aborted(goal, end, Result.PREEMPTED, 1)
    assert "'push'" in result.message
    action = goal.node.act()
    assert (action.instruction, action.sequence) == ("push", 0)
    assert len(goal.node.actions) == 2, "no stop action between them"


def test_an_empty_instruction_ends_the_goal_and_stops_the_arm(client: Any) -> None:
    goal = client()
    goal.node.say("go")
    goal.node.say("")
    end = goal.start()
    goal.node.act()
    goal.node._speaker.publish(String(data=""))  # what the topic said last: a stop is obeyed nevertheless
    aborted(goal, end, Result.PREEMPTED, 1)
    goal.assert_stopped_once(1)


def test_an_instruction_that_is_refused_ends_the_goal_and_stops_the_arm(client: Any) -> None:
    goal = client()
    goal.node.say("go")
    end = goal.start()
    goal.node.act()
    goal.node._speaker.publish(String(data="a\x1bb"))
    assert "refused" in aborted(goal, end, Result.PREEMPTED, 1).message
    goal.assert_stopped_once(1)


def test_a_topic_that_repeats_itself_neither_takes_over_nor_goes_on_after_a_goal(client: Any) -> None:
    goal = client()
    goal.node.say("old")
    end = goal.start(steps=2)
    heard = []
    goal.node.graph.helper.create_subscription(String, "instruction", heard.append, 10)
    goal.node.act()
    goal.node._speaker.publish(String(data="old"))
    goal.node.graph.wait_for(lambda: heard, "the repetition")
    goal.node.act()
    assert goal.end(end)[0].termination_reason == Result.MAX_STEPS
    goal.node._speaker.publish(String(data="old"))
    goal.node.graph.wait_for(lambda: len(heard) == 2, "the second repetition")
    goal.assert_stopped_once(2)


def test_a_reset_ends_the_goal_and_stops_the_arm(client: Any) -> None:
    goal = client()
    end = goal.start()
    goal.node.act()
    assert goal.node.graph.call(Trigger, "vla_node/reset", Trigger.Request()).success
    assert "reset" in aborted(goal, end, Result.PREEMPTED, 1).message
    goal.assert_stopped_once(1)


def test_disabling_ends_the_goal_and_enabling_does_not_go_on_with_it(client: Any) -> None:
    goal = client()
    end = goal.start()
    goal.node.act()
    goal.node.graph.call(SetBool, "vla_node/set_enabled", SetBool.Request(data=False))
    aborted(goal, end, Result.DISABLED, 1)
    goal.node.graph.call(SetBool, "vla_node/set_enabled", SetBool.Request(data=True))
    goal.assert_stopped_once(1)


@pytest.mark.parametrize("transitions", [["deactivate"], ["deactivate", "cleanup"], ["shutdown"]])
def test_a_transition_ends_the_goal_and_stops_the_arm(client: Any, transitions: list[str]) -> None:
    goal = client()
    end = goal.start()
    goal.node.act()
    for transition in transitions:
        assert goal.node.transition(transition)
    aborted(goal, end, Result.DEACTIVATED, 1)
    goal.node.graph.wait_for(lambda: len(goal.node.actions) == 2, "the stop action")
    assert goal.node.actions[1].translation.x == 0.0
    assert not goal.send().accepted
    if transitions == ["deactivate"]:
        assert goal.node.transition("activate")
        goal.node.see()
        goal.node.graph.stays(lambda: len(goal.node.actions) == 2, 0.2)
        assert goal.start("pick again")


def test_a_node_that_gives_up_fails_the_goal_and_says_why(client: Any, vla: Start, scripted: Any) -> None:
    broken = [False]

    def script(_: Any, chunk: Any) -> Any:
        if broken[0]:
            raise RuntimeError("out of memory")
        return chunk

    goal = client(vla(scripted(script), parameters={"watchdog.max_failures": 2}))
    end = goal.start()
    goal.node.act()
    broken[0] = True
    for failure in (1, 2):
        goal.node.see()
        goal.node.wait_for_count("inference failed", failure)
    result = aborted(goal, end, Result.FAILED, 1)
    assert "2 inferences in a row failed, the last with: out of memory" in result.message
    goal.node.wait_until("inactive")
    assert [action.translation.x != 0.0 for action in goal.node.actions] == [True, False]


def test_one_failed_inference_does_not_end_a_goal(client: Any, vla: Start, scripted: Any) -> None:
    calls = iter(range(100))

    def script(_: Any, chunk: Any) -> Any:
        if next(calls) == 1:
            raise RuntimeError("once")
        return chunk

    goal = client(vla(scripted(script)))
    end = goal.start(steps=2)
    goal.node.act()
    goal.node.see()
    goal.node.wait_for_count("inference failed")
    goal.node.act()
    assert goal.end(end)[0].steps == 2


def test_the_answer_of_an_inference_that_a_cancel_overtook_is_discarded(
    client: Any, vla: Start, scripted: Any
) -> None:
    release = threading.Event()

    def wait(_: Any, chunk: Any) -> Any:
        assert release.wait(10)
        return chunk

    goal = client(vla(scripted(wait)))
    end = goal.start()
    goal.node.see()
    goal.node.graph.wait_for(lambda: goal.node.policy.seen, "the inference")
    goal.handle.cancel_goal_async()
    assert goal.end(end)[0].termination_reason == Result.CANCELED
    release.set()
    goal.node.wait_for_count("superseded during inference")
    assert goal.node.actions == []


# -- simulated time


def test_the_duration_of_a_goal_is_one_of_simulated_time(simulated: Any, client: Any) -> None:
    node, clock = simulated
    goal = client(node)
    assert not goal.send().accepted, "there is no time yet"
    assert "/clock" in node.node._goals.last
    clock.set(node, 100 * SECOND)
    end = goal.start(seconds=10)
    clock.set(node, 110 * SECOND - 1)
    node.graph.stays(lambda: not end.done(), 0.2)
    clock.set(node, 110 * SECOND)
    result, _ = goal.end(end)
    assert (result.termination_reason, result.elapsed.sec) == (Result.MAX_DURATION, 10)


def test_a_clock_that_goes_back_ends_the_goal(simulated: Any, client: Any) -> None:
    node, clock = simulated
    goal = client(node)
    clock.set(node, 100 * SECOND)
    end = goal.start(seconds=10)
    node.see(node.graph.image(100 * SECOND))
    node.graph.wait_for(lambda: node.actions, "an action")
    node.graph.wait_for(lambda: goal.feedback and goal.feedback[-1].step, "feedback")
    clock.set(node, 50 * SECOND)
    aborted(goal, end, Result.CLOCK_JUMP, 1)
    node.see(node.graph.image(50 * SECOND))
    node.graph.stays(lambda: len(node.actions) == 1, 0.2)
