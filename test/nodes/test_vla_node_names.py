"""Names and QoS of the vla_node: namespaces, remapping, what the help says, incompatible publishers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("rclpy")
from rclpy.action import get_action_server_names_and_types_by_node
from sensor_msgs.msg import Image

from robovlms_ros.ros import qos
from robovlms_ros.ros.interfaces import VLAAction

Start = Callable[..., Any]
# What makes a node listen to everything that it can listen to.
ALL = {"state.source": "topics", "state.gripper_joint": "finger", "state.gripper_open": 1.0}


@pytest.mark.fault(25)
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


@pytest.mark.fault(25)
def test_every_topic_service_and_action_can_be_remapped(vla: Start, scripted: Any) -> None:
    from robovlms_ros.nodes.vla_node import ENDPOINTS

    remaps = [f"{endpoint.name}:=/robot/n{number}" for number, endpoint in enumerate(ENDPOINTS)]
    arguments = ["--ros-args", *[word for remap in remaps for word in ("-r", remap)]]
    node = vla(scripted(cameras=("static", "hand")), parameters=ALL, cli_args=arguments)
    helper = node.graph.helper

    def known() -> set[str]:
        found = helper.get_topic_names_and_types() + helper.get_service_names_and_types()
        return {name.split("/_action/")[0] for name, _ in found}

    expected = {f"/robot/n{number}" for number in range(len(ENDPOINTS))}
    node.graph.wait_for(lambda: expected <= known(), f"discovery of {expected - known()}")
    assert not {f"/{e.name}" for e in ENDPOINTS if e.kind != "serves"} & known() - {"/action"}


def test_the_help_names_every_topic_service_and_action_that_the_node_has(vla: Start, scripted: Any) -> None:
    from robovlms_ros.nodes.vla_node import ENDPOINTS

    node = vla(scripted(cameras=("static", "hand")), parameters=ALL, namespace="ns").node
    name, namespace = node.get_name(), node.get_namespace()
    standard = {"/parameter_events", "/rosout", "/clock", f"{namespace}/{name}/transition_event"}

    def names(of: Any) -> set[str]:
        return {found for found, _ in of(name, namespace) if "/_action/" not in found} - standard

    def documented(kind: str) -> set[str]:
        return {node.resolve_topic_name(endpoint.name) for endpoint in ENDPOINTS if endpoint.kind == kind}

    assert names(node.get_subscriber_names_and_types_by_node) == documented("subscribes")
    assert names(node.get_publisher_names_and_types_by_node) == documented("publishes")
    actions = get_action_server_names_and_types_by_node(node, name, namespace)
    served = names(node.get_service_names_and_types_by_node) | {found for found, _ in actions}
    assert documented("serves") <= served
    serves = {node.resolve_topic_name(endpoint.name): endpoint.type for endpoint in ENDPOINTS}
    assert [(found, types) for found, types in actions] == [
        (found, [kind]) for found, kind in serves.items() if "/action/" in kind
    ]
    types = dict(node.get_topic_names_and_types())
    for endpoint in ENDPOINTS:
        if endpoint.kind != "serves":
            assert types[node.resolve_topic_name(endpoint.name)] == [endpoint.type]


@pytest.mark.fault(13)
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
    assert node.node._runtime.output._action.qos_profile.depth == 1
    assert VLAAction.MODE_DELTA == 0
