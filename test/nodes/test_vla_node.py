"""The path from topics to actions, over real DDS."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from robovlms_ros.ros import qos
from robovlms_ros.ros.interfaces import ActionHistory, VLAAction, VLAActionChunk
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


def test_a_slow_policy_gets_the_newest_frame_and_the_others_are_counted(vla: Start, scripted: Any) -> None:
    release = threading.Event()

    def wait(_: Any, chunk: Any) -> Any:
        assert release.wait(10)
        return chunk

    node = vla(scripted(wait))
    node.say("go")
    node.see(node.graph.image(value=1))
    node.graph.wait_for(lambda: node.policy.seen, "the first inference")
    runtime = node.node._runtime
    for value in range(2, 10):
        node.see(node.graph.image(value=value))
        node.graph.wait_for(lambda v=value: runtime.inputs[0].monitor.received >= v, "the frame's arrival")
    release.set()
    node.graph.wait_for(lambda: len(node.actions) == 2, "two actions")
    assert [int(seen.images["static"][0, 0, 0]) for seen in node.policy.seen] == [1, 9]
    assert runtime.controller.overtaken == 7


def test_pixels_arrive_as_rgb_whatever_the_encoding(vla: Start) -> None:
    node = vla()
    node.say("go")
    bgr = node.graph.image(encoding="bgr8")
    bgr.data[0::3] = bgr.data[0::3].__class__("B", [200] * (48 * 64))
    node.see(bgr)
    node.graph.wait_for(lambda: node.policy.seen, "an inference")
    np.testing.assert_array_equal(node.policy.seen[0].images["static"][0, 0], [0, 0, 200])


@pytest.mark.parametrize("changes", [{"encoding": "rgb9"}, {"height": 47}, {"encoding": "16UC1"}, {"width": 0}])
def test_a_bad_image_is_dropped_and_counted_and_the_next_is_answered(vla: Start, changes: dict[str, Any]) -> None:
    node = vla()
    node.say("go")
    node.see(node.graph.image(**changes))
    node.wait_for_count("undecodable image")
    assert node.act().sequence == 0
    assert node.state == "active"


def test_compressed_images_are_heard_below_the_topic(vla: Start) -> None:
    pillow = pytest.importorskip("PIL.Image")
    import io

    node = vla(parameters={"images.transport": "compressed"})
    node.say("go")
    buffer = io.BytesIO()
    pillow.fromarray(np.full((8, 8, 3), [10, 20, 30], np.uint8)).save(buffer, "PNG")
    camera = node.graph.publisher(CompressedImage, "image/compressed")
    message = CompressedImage(format="png", data=buffer.getvalue())
    message.header.stamp = node.graph.image().header.stamp
    broken = CompressedImage(format="png", data=buffer.getvalue()[:30])
    broken.header.stamp = node.graph.image().header.stamp
    camera.publish(message)
    node.graph.wait_for(lambda: node.actions, "an action")
    np.testing.assert_array_equal(node.policy.seen[0].images["static"][0, 0], [10, 20, 30])
    camera.publish(broken)
    node.wait_for_count("undecodable image")


def test_two_cameras_are_matched_and_the_action_has_the_older_stamp(vla: Start, scripted: Any) -> None:
    node = vla(scripted(cameras=("static", "hand")))
    node.say("go")
    now = node.graph.now_ns()
    node.see(node.graph.image(now, value=1))
    node.graph.stays(lambda: not node.actions, 0.1)
    node.see(node.graph.image(now - 20_000_000, value=2), "image_hand")
    node.graph.wait_for(lambda: node.actions, "an action")
    assert to_nanoseconds(node.actions[0].header.stamp) == now - 20_000_000
    assert {camera: int(image[0, 0, 0]) for camera, image in node.policy.seen[0].images.items()} == {
        "static": 1,
        "hand": 2,
    }


def test_a_hand_camera_that_is_switched_off_is_not_waited_for(vla: Start, scripted: Any) -> None:
    node = vla(scripted(cameras=("static", "hand")), parameters={"images.hand.enabled": False})
    node.say("go")
    assert node.act()
    assert set(node.policy.seen[0].images) == {"static"}
    assert node.graph.helper.count_subscribers("image_hand") == 0


# -- instruction


def test_without_an_instruction_nothing_is_published(vla: Start) -> None:
    node = vla()
    node.see()
    node.graph.wait_for(lambda: node.node._runtime.inputs[0].monitor.received, "the image's arrival")
    node.graph.stays(lambda: not node.actions)


def test_an_instruction_latched_before_the_node_started_is_heard(vla: Start, graph: Any) -> None:
    speaker = graph.helper.create_publisher(String, "instruction", qos.latched())
    speaker.publish(String(data="latched long ago"))
    assert vla().act().instruction == "latched long ago"


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


@pytest.mark.parametrize("text", ["ارفع المكعب", "grab the 🍎"])
def test_instructions_of_any_script_reach_the_policy(vla: Start, text: str) -> None:
    node = vla()
    node.say(text)
    assert node.act().instruction == text
    assert node.policy.seen[0].instruction == text


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


# -- outputs and requests


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
    node.graph.wait_for(lambda: node.node._runtime._chunk.get_subscription_count(), "a listener")
    node.say("go")
    action = node.act()
    node.graph.wait_for(lambda: chunks, "the chunk")
    assert [step.step_index for step in chunks[0].steps] == [0, 1, 2, 3, 4]
    assert chunks[0].steps[0] == action
    assert chunks[0].header == action.header


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
    from rclpy.parameter import Parameter

    node = vla()
    node.say("go")
    assert node.act().saturated == 0
    assert node.node.set_parameters([Parameter("limits.translation", value=0.001)])[0].successful
    action = node.act()
    assert np.hypot(np.hypot(action.translation.x, action.translation.y), action.translation.z) <= 0.0010001
    assert action.saturated & 0b111


def test_a_horizon_beyond_the_chunk_is_refused_with_the_reason(vla: Start, scripted: Any) -> None:
    from rclpy.parameter import Parameter

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


# -- history


def history(episode: int, sequence: int, value: float, length: int = 2) -> ActionHistory:
    message = ActionHistory(length=length, action_dim=7, episode=episode, sequence=sequence)
    message.actions = [value] * (7 * length)
    message.valid = [True] * length
    return message


def test_the_node_acts_without_a_history_node_and_marks_the_window_empty(vla: Start) -> None:
    node = vla()
    node.say("go")
    node.act()
    node.act()
    assert not node.policy.seen[-1].history.valid.any()


def test_the_received_history_is_what_the_policy_sees(vla: Start) -> None:
    node = vla(parameters={"history.length": 4})
    node.say("go")
    node.act()
    publisher = node.graph.publisher(ActionHistory, "action_history")
    publisher.publish(history(0, 0, 0.5, length=1))
    node.graph.wait_for(lambda: node.node._runtime.controller._received, "the history")
    node.act()
    window = node.policy.seen[-1].history
    assert window.valid.tolist() == [False, False, False, True]
    np.testing.assert_array_equal(window.actions[-1], np.full(7, 0.5, np.float32))


def test_a_malformed_history_is_counted_and_ignored(vla: Start) -> None:
    node = vla()
    publisher = node.graph.publisher(ActionHistory, "action_history")
    bad = history(0, 0, 0.5)
    bad.length = 3
    publisher.publish(bad)
    node.wait_for_count("malformed history")


def test_both_nodes_together_feed_back_what_was_published(vla: Start, graph: Any) -> None:
    from robovlms_ros.nodes.action_history_node import ActionHistoryNode

    graph.add(ActionHistoryNode(context=graph.context))
    histories = graph.collect(ActionHistory, "action_history", 10)
    node = vla(parameters={"history.length": 3})
    node.say("go")
    graph.wait_for(lambda: graph.helper.count_subscribers("action") == 2, "the history node")
    controller = node.node._runtime.controller
    for number in range(4):
        node.act()
        graph.wait_for(lambda n=number: controller._received and controller._received[1] == n, "the history")
    assert [message.sequence for message in histories] == [0, 1, 2, 3]
    window = node.policy.seen[3].history
    assert window.valid.all()
    for row, action in zip(window.actions, node.actions[:3], strict=True):
        np.testing.assert_array_equal(row, action.model_action)


# -- names


def test_two_namespaces_do_not_hear_each_other(vla: Start, scripted: Any) -> None:
    left, right = vla(scripted(), namespace="left"), vla(scripted(), namespace="right")
    left.say("go left")
    right.say("go right")
    assert left.act().instruction == "go left"
    right.graph.stays(lambda: not right.actions, 0.2)
    assert right.act().instruction == "go right"
    assert len(left.actions) == 1
    names = {name for name, _ in left.graph.helper.get_topic_names_and_types()}
    assert "/left/vla_node/model_info" in names
    assert "/action" not in names


def test_every_topic_and_service_can_be_remapped(vla: Start, scripted: Any) -> None:
    from robovlms_ros.nodes.vla_node import ENDPOINTS

    remaps = [f"{endpoint.name}:=/robot/n{number}" for number, endpoint in enumerate(ENDPOINTS)]
    arguments = ["--ros-args", *[word for remap in remaps for word in ("-r", remap)]]
    node = vla(scripted(cameras=("static", "hand")), cli_args=arguments)
    helper = node.graph.helper
    node.graph.wait_for(lambda: helper.count_publishers("/robot/n7"), "discovery")
    known = {name for name, _ in helper.get_topic_names_and_types() + helper.get_service_names_and_types()}
    assert {f"/robot/n{number}" for number in range(len(ENDPOINTS))} <= known
    assert not {f"/{e.name}" for e in ENDPOINTS if e.kind != "serves"} & known - {"/action"}


def test_the_help_names_every_topic_and_service_that_the_node_has(vla: Start, scripted: Any) -> None:
    from robovlms_ros.nodes.vla_node import ENDPOINTS

    node = vla(scripted(cameras=("static", "hand")), namespace="ns").node
    name, namespace = node.get_name(), node.get_namespace()
    standard = {"/parameter_events", "/rosout", "/clock", f"{namespace}/{name}/transition_event"}

    def names(of: Any) -> set[str]:
        return {found for found, _ in of(name, namespace)} - standard

    def documented(kind: str) -> set[str]:
        return {node.resolve_topic_name(endpoint.name) for endpoint in ENDPOINTS if endpoint.kind == kind}

    assert names(node.get_subscriber_names_and_types_by_node) == documented("subscribes")
    assert names(node.get_publisher_names_and_types_by_node) == documented("publishes")
    assert documented("serves") <= names(node.get_service_names_and_types_by_node)
    types = dict(node.get_topic_names_and_types())
    for endpoint in ENDPOINTS:
        if endpoint.kind != "serves":
            assert types[node.resolve_topic_name(endpoint.name)] == [endpoint.type]


def test_an_incompatible_camera_is_reported(vla: Start) -> None:
    node = vla(parameters={"images.reliability": "reliable"})
    node.graph.helper.create_publisher(Image, "image", qos.images("best_effort"))
    camera = node.node._runtime.inputs[0]
    node.graph.wait_for(lambda: camera.mismatched_publishers == 1, "the QoS event")
    statuses = {status.name: status for status in node.node._status()}
    assert "another QoS" in statuses["vla_node: camera static"].message


def test_an_action_is_reliable_and_never_queued(vla: Start) -> None:
    node = vla()
    (info,) = node.graph.helper.get_publishers_info_by_topic("/action")
    assert info.topic_type == "robovlms_ros/msg/VLAAction"
    assert info.qos_profile.reliability == qos.actions().reliability
    assert info.qos_profile.durability == qos.actions().durability
    assert node.node._runtime._action.qos_profile.depth == 1
    assert VLAAction.MODE_DELTA == 0
