"""From topics to actions over real DDS, and the requests that change what comes out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from robovlms_ros.ros import qos
from robovlms_ros.ros.interfaces import VLAActionChunk
from robovlms_ros.ros.messages import to_nanoseconds

Start = Callable[..., Any]


def test_an_image_gives_an_action_with_its_stamp(vla: Start) -> None:
    node = vla()
    node.say("pick up the block")
    image = node.see()
    node.graph.wait_for(lambda: node.actions, "an action")
    action = node.actions[0]
    assert action.header.stamp == image.header.stamp
    assert action.header.frame_id == "base_link"
    assert action.instruction == "pick up the block"
    assert action.model_id == "null/none@0"
    assert 0 < to_nanoseconds(action.latency) < 2_000_000_000


def test_every_image_is_answered_in_order(vla: Start) -> None:
    node = vla()
    node.say("go")
    answers = [node.act() for _ in range(30)]
    assert node.actions == answers
    assert [action.sequence for action in answers] == list(range(30))
    assert not node.node._runtime.controller.overtaken


def test_the_model_card_is_latched(vla: Start) -> None:
    node = vla()
    cards = node.graph.collect(String, "vla_node/model_info", qos.latched())
    node.graph.wait_for(lambda: cards, "the card")
    card = json.loads(cards[0].data)
    assert card["model_id"] == "null/none@0"
    assert card["cameras"] == ["static"]
    assert card["action_frame"] == "base_link"
    assert card["step_duration"] == pytest.approx(1 / 30)


def test_the_whole_chunk_is_published_for_those_who_listen(vla: Start, scripted: Any) -> None:
    node = vla(scripted(chunk=5))
    chunks = node.graph.collect(VLAActionChunk, "action_chunk", 10)
    node.graph.wait_for(lambda: node.node._runtime.output._chunk.get_subscription_count(), "a listener")
    node.say("go")
    action = node.act()
    node.graph.wait_for(lambda: chunks, "the chunk")
    assert [step.step_index for step in chunks[0].steps] == [0, 1, 2, 3, 4]
    assert chunks[0].steps[0] == action
    assert chunks[0].header == action.header


@pytest.mark.fault(18)
def test_reset_starts_an_episode_that_repeats_the_first(vla: Start) -> None:
    node = vla()
    node.say("go")
    first = [node.act() for _ in range(3)]
    answer = node.graph.call(Trigger, "vla_node/reset", Trigger.Request())
    assert answer.success
    second = [node.act() for _ in range(3)]
    assert [(a.episode, a.sequence) for a in second] == [(1, 0), (1, 1), (1, 2)]
    assert [list(a.model_action) for a in first] == [list(a.model_action) for a in second]


def test_disabling_stops_the_arm_and_enabling_resumes(vla: Start) -> None:
    node = vla()
    node.say("go")
    node.act()
    assert node.graph.call(SetBool, "vla_node/set_enabled", SetBool.Request(data=False)).success
    node.graph.wait_for(lambda: len(node.actions) == 2, "the stop action")
    node.see()
    node.graph.stays(lambda: len(node.actions) == 2)
    assert node.graph.call(SetBool, "vla_node/set_enabled", SetBool.Request(data=True)).success
    assert node.act()


def test_limits_may_change_live_and_are_seen_in_the_next_action(vla: Start) -> None:

    node = vla()
    node.say("go")
    assert node.act().saturated == 0
    assert node.node.set_parameters([Parameter("limits.translation", value=0.001)])[0].successful
    action = node.act()
    assert np.hypot(np.hypot(action.translation.x, action.translation.y), action.translation.z) <= 0.0010001
    assert action.saturated & 0b111


@pytest.mark.fault(4)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limits.translation", -0.01),
        ("limits.translation", math.nan),
        ("limits.rotation", math.inf),
        ("limits.rotation", "0.1"),
        ("limits.translation", [0.1, 0.1, 0.1]),
        ("limits.workspace", [0.0, 0.0, 0.0, 1.0, 1.0]),
        ("limits.workspace", [0.0, 0.0, 0.0, 1.0, 1.0, math.nan]),
    ],
)
def test_limits_that_make_no_sense_are_refused_with_the_reason(vla: Start, name: str, value: Any) -> None:
    node = vla()
    before = node.node._runtime.controller.settings
    request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
    (result,) = node.graph.call(SetParameters, "vla_node/set_parameters", request).results
    assert not result.successful
    assert name.rsplit(".", 1)[1] in result.reason
    assert node.node._runtime.controller.settings is before
    node.say("go")
    assert node.act()


def test_a_horizon_beyond_the_chunk_is_refused_with_the_reason(vla: Start, scripted: Any) -> None:

    node = vla(scripted(chunk=5))
    changes = [Parameter("chunk.mode", value="open_loop"), Parameter("chunk.horizon", value=6)]
    result = node.node.set_parameters_atomically(changes)
    assert not result.successful
    assert "the model predicts 5" in result.reason
    assert node.node.get_parameter("chunk.mode").value == "first"


def test_the_frame_of_the_actions_is_the_parameter_where_it_is_set(vla: Start) -> None:
    node = vla(parameters={"action_frame": "tool0"})
    node.say("go")
    assert node.act().header.frame_id == "tool0"


def test_a_policy_slower_than_its_steps_is_reported(vla: Start, scripted: Any) -> None:
    node = vla(scripted(delay=0.05))
    node.say("go")
    for _ in range(10):
        node.act()
    node.graph.wait_for(
        lambda: node.node._status()[0].message == "acting, but slower than its steps", "the warning"
    )
