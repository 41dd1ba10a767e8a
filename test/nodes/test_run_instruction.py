"""Goals of `~/run_instruction` with a real action client: how they run, what they tell, what is refused."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("rclpy")
from action_msgs.msg import GoalStatus

from robovlms_ros.policy.instruction_run import Termination
from robovlms_ros.ros.interfaces import RunInstruction
from robovlms_ros.ros.messages import to_nanoseconds

Start = Callable[..., Any]
SECOND = 1_000_000_000
Result = RunInstruction.Result


def test_the_numbers_of_the_reasons_are_those_of_the_action() -> None:
    assert {reason.name: int(reason) for reason in Termination} == {
        name: getattr(Result, name) for name in Termination.__members__
    }
    assert Result.UNKNOWN == 0


def test_a_goal_runs_for_its_steps_and_then_stops_the_arm(client: Any) -> None:
    goal = client()
    node = goal.node
    end = goal.start("pick up the block", steps=3)
    actions = [node.act() for _ in range(3)]
    assert [(action.instruction, action.sequence) for action in actions] == [
        ("pick up the block", number) for number in range(3)
    ]
    result, status = goal.end(end)
    assert (status, result.termination_reason, result.steps) == (GoalStatus.STATUS_SUCCEEDED, Result.MAX_STEPS, 3)
    assert 0 < to_nanoseconds(result.elapsed) < 20 * SECOND
    assert result.message == "3 of 3 actions were published"
    goal.assert_stopped_once(3)


def test_a_goal_ends_after_its_duration_even_without_images(client: Any) -> None:
    goal = client()
    result, status = goal.end(goal.start(seconds=0.2))
    assert (status, result.termination_reason, result.steps) == (
        GoalStatus.STATUS_SUCCEEDED,
        Result.MAX_DURATION,
        0,
    )
    assert SECOND // 5 <= to_nanoseconds(result.elapsed) < 5 * SECOND
    assert goal.node.actions == []


def test_canceling_stops_the_arm_once_and_leaves_silence(client: Any) -> None:
    goal = client()
    end = goal.start()
    goal.node.act()
    goal.node.act()
    answer = goal.handle.cancel_goal_async()
    goal.node.graph.wait_for(answer.done, "the answer to the cancel request")
    assert len(answer.result().goals_canceling) == 1
    result, status = goal.end(end)
    assert (status, result.termination_reason, result.steps) == (GoalStatus.STATUS_CANCELED, Result.CANCELED, 2)
    goal.assert_stopped_once(2)


def test_a_cancel_request_after_the_end_changes_nothing(client: Any) -> None:
    goal = client()
    end = goal.start(steps=1)
    goal.node.act()
    goal.end(end)
    answer = goal.handle.cancel_goal_async()
    goal.node.graph.wait_for(answer.done, "the answer to the cancel request")
    assert not answer.result().goals_canceling
    goal.assert_stopped_once(1)


def test_a_second_goal_is_rejected_and_the_first_goes_on(client: Any) -> None:
    goal = client()
    end = goal.start(steps=2)
    goal.node.act()
    assert not goal.send("push").accepted
    assert goal.node.act().instruction == "pick"
    assert goal.end(end)[0].termination_reason == Result.MAX_STEPS


def test_goals_follow_each_other_each_in_an_episode_of_its_own(client: Any) -> None:
    goal = client()
    episodes = []
    for _ in range(3):
        end = goal.start(steps=2)
        episodes += [(action.episode, action.sequence) for action in (goal.node.act(), goal.node.act())]
        assert goal.end(end)[0].steps == 2
    assert [sequence for _, sequence in episodes] == [0, 1] * 3
    assert len({episode for episode, _ in episodes}) == 3


def test_a_goal_takes_over_from_the_topic_even_with_the_same_words(client: Any) -> None:
    goal = client()
    goal.node.say("pick")
    before = goal.node.act()
    end = goal.start("pick", steps=1)
    action = goal.node.act()
    assert (action.episode, action.sequence) == (before.episode + 1, 0)
    assert goal.end(end)[0].steps == 1
    goal.node.graph.wait_for(lambda: len(goal.node.actions) == 3, "the stop action")


# -- feedback


def test_feedback_tells_steps_latency_and_state(client: Any) -> None:
    goal = client()
    graph = goal.node.graph
    end = goal.start(steps=3)
    graph.wait_for(lambda: [each.state for each in goal.feedback] == ["waiting for images"], "the first feedback")
    assert goal.feedback[0].step == 0
    goal.node.act()
    graph.wait_for(lambda: goal.feedback[-1].step == 1, "feedback on the step")
    told = goal.feedback[-1]
    assert told.state == "acting"
    assert told.latency == goal.node.actions[0].latency
    assert to_nanoseconds(told.elapsed) > to_nanoseconds(goal.feedback[0].elapsed) >= 0
    count = len(goal.feedback)
    graph.wait_for(lambda: len(goal.feedback) > count, "feedback once a second")
    goal.node.act()
    goal.node.act()
    goal.end(end)


def test_twenty_goals_leave_no_timer_and_no_thread(client: Any) -> None:
    goal = client()
    ros = goal.node.node
    timers, threads = len(list(ros.timers)), threading.active_count()
    for _ in range(20):
        goal.end(goal.start(seconds=1e-9))
    goal.node.graph.wait_for(lambda: len(list(ros.timers)) == timers, "the end of the last timer")
    assert threading.active_count() == threads


# -- refused


@pytest.mark.parametrize("text", ["", "   ", "x" * 513, "a\x1bb", "take <image> it"])
def test_a_goal_whose_instruction_is_empty_or_not_clean_is_rejected(client: Any, text: str) -> None:
    goal = client()
    assert not goal.send(text).accepted
    assert goal.node.node._goals.last.startswith("rejected: the instruction is")
    assert goal.node.node._runtime.controller.instruction is None


def test_the_special_tokens_of_the_model_are_refused(client: Any, vla: Start, scripted: Any) -> None:
    policy = scripted()
    policy.special_tokens = ("<secret>",)
    assert not client(vla(policy)).send("take <SECRET>").accepted


def test_a_goal_with_a_negative_duration_is_rejected(client: Any) -> None:
    assert not client().send(seconds=-1).accepted


@pytest.mark.parametrize("state", ["unconfigured", "inactive"])
def test_a_goal_is_rejected_while_the_node_is_not_active(client: Any, vla: Start, state: str) -> None:
    node = vla(state="unconfigured")
    if state == "inactive":
        assert node.transition("configure")
    goal = client(node)
    assert not goal.send().accepted
    assert state in node.node._goals.last


def test_a_goal_is_rejected_while_the_node_is_disabled(client: Any, vla: Start) -> None:
    goal = client(vla(parameters={"enabled": False}))
    assert not goal.send().accepted
    assert "set_enabled" in goal.node.node._goals.last


# -- somebody must be there


def test_an_instruction_that_must_be_repeated_is_stopped_and_heard_again(client: Any, vla: Start) -> None:
    goal = client(vla(parameters={"instruction.max_age": 0.3, "images.max_age": 5.0}))
    node = goal.node
    end = goal.start("pick", steps=3)
    node.act()
    node.graph.wait_for(lambda: len(node.actions) == 2, "the stop action")
    unheard = "stopped: the instruction was not repeated within instruction.max_age"
    node.see()
    node.graph.wait_for(lambda: goal.feedback and goal.feedback[-1].state == unheard, "feedback that says why")
    assert not end.done()
    speaker = node.graph.publisher(node.string, "instruction", node.plain)
    for wanted in (3, 4):
        # Whoever repeats it keeps the goal alive; on a busy machine once may be too early.
        def go_on(count: int = wanted) -> bool:
            speaker.publish(node.string(data="pick"))
            node.see()
            return len([action for action in node.actions if action.translation.x]) >= count - 1

        node.graph.wait_for(go_on, "the next step")
    result, _ = goal.end(end)
    assert (result.termination_reason, result.steps) == (Result.MAX_STEPS, 3)


def test_another_instruction_that_the_topic_repeats_keeps_no_goal_alive(client: Any, vla: Start) -> None:
    goal = client(vla(parameters={"instruction.max_age": 0.3, "images.max_age": 5.0}))
    node = goal.node
    node.say("old")
    end = goal.start("pick")
    node.act()

    def repeat() -> bool:
        node._speaker.publish(node.string(data="old"))
        return bool(goal.feedback) and "was not repeated" in goal.feedback[-1].state

    node.graph.wait_for(repeat, "the stop, all the same")
    assert not end.done()
