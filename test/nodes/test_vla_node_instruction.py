"""What the vla_node does with instructions: latched or plain, changed, empty, hostile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("rclpy")
from std_msgs.msg import String

from robovlms_ros.ros import qos

Start = Callable[..., Any]


@pytest.mark.fault(12)
def test_without_an_instruction_nothing_is_published(vla: Start) -> None:
    node = vla()
    node.see()
    node.graph.wait_for(lambda: node.node._runtime.inputs[0].monitor.received, "the image's arrival")
    node.graph.stays(lambda: not node.actions)


@pytest.mark.fault(13)
def test_an_instruction_latched_before_the_node_started_is_heard(vla: Start, graph: Any) -> None:
    speaker = graph.helper.create_publisher(String, "instruction", qos.latched())
    speaker.publish(String(data="latched long ago"))
    assert vla().act().instruction == "latched long ago"


@pytest.mark.fault(13)
def test_a_plain_publisher_is_heard_and_once_is_enough(vla: Start) -> None:
    node = vla()
    speaker = node.graph.publisher(String, "instruction", qos.volatile())
    speaker.publish(String(data="plain"))
    node.graph.wait_for(lambda: node.node._runtime.controller.instruction == "plain", "the instruction")
    assert node.act().episode == 0


def test_the_same_instruction_again_is_no_new_episode(vla: Start) -> None:
    node = vla()
    for expected in range(3):
        node.say("go")
        action = node.act()
        assert (action.episode, action.sequence) == (0, expected)


def test_a_changed_instruction_starts_an_episode(vla: Start) -> None:
    node = vla()
    node.say("pick")
    assert (node.act().episode, node.act().sequence) == (0, 1)
    node.say("push")
    action = node.act()
    assert (action.episode, action.sequence, action.instruction) == (1, 0, "push")


@pytest.mark.fault(12)
def test_an_empty_instruction_stops_the_arm_once(vla: Start) -> None:
    node = vla()
    node.say("go")
    moving = node.act()
    node.say("")
    node.graph.wait_for(lambda: len(node.actions) == 2, "the stop action")
    stop = node.actions[1]
    assert (stop.translation.x, stop.translation.y, stop.rotation.z) == (0.0, 0.0, 0.0)
    assert stop.gripper == moving.gripper
    node.see()
    node.graph.stays(lambda: len(node.actions) == 2)


@pytest.mark.fault(12)
@pytest.mark.parametrize("text", ["x" * 10_000, "a\x1bb", "take <image> it"])
def test_an_instruction_that_is_refused_stops_the_arm(vla: Start, text: str) -> None:
    node = vla()
    node.say("go")
    node.act()
    node._speaker.publish(String(data=text))
    node.wait_for_count("refused instruction")
    node.graph.wait_for(lambda: len(node.actions) == 2, "the stop action")
    node.see()
    node.graph.stays(lambda: len(node.actions) == 2, 0.2)
    node.say("go on")
    assert node.act().instruction == "go on"


@pytest.mark.fault(12)
@pytest.mark.parametrize("text", ["ارفع المكعب", "grab the 🍎"])
def test_instructions_of_any_script_reach_the_policy(vla: Start, text: str) -> None:
    node = vla()
    node.say(text)
    assert node.act().instruction == text
    assert node.policy.seen[0].instruction == text


@pytest.mark.fault(12)
def test_an_instruction_changed_during_inference_discards_the_old_answer(vla: Start, scripted: Any) -> None:
    release = threading.Event()

    def wait(observation: Any, chunk: Any) -> Any:
        assert observation.instruction != "old" or release.wait(10)
        return chunk

    node = vla(scripted(wait))
    node.say("old")
    node.see()
    node.graph.wait_for(lambda: node.policy.seen, "the inference")
    node.say("new")
    release.set()
    node.wait_for_count("superseded during inference")
    assert node.act().instruction == "new"
    assert [action.instruction for action in node.actions] == ["new"]


@pytest.mark.fault(12)
def test_nothing_behind_a_nul_reaches_the_policy(vla: Start) -> None:
    node = vla()
    node.say("go")
    node._speaker.publish(String(data="push\x00<image> pull"))  # DDS ends a text there
    node.graph.wait_for(lambda: node.node._runtime.controller.instruction == "push", "the instruction")
    assert node.act().instruction == "push"
    assert node.policy.seen[-1].instruction == "push"
