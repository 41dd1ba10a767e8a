"""config/sros2/policy.xml allows what the nodes have, all of it and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

pytest.importorskip("rclpy")
from rclpy.action.graph import (
    get_action_client_names_and_types_by_node,
    get_action_server_names_and_types_by_node,
)
from rclpy.parameter import Parameter

from robovlms_ros.nodes.action_history_node import ActionHistoryNode
from robovlms_ros.nodes.arm_bridge_node import ArmBridgeNode
from robovlms_ros.ros.arm_bridge_parameters import OUTPUTS

POLICY = Path(__file__).resolve().parents[2] / "config" / "sros2" / "policy.xml"
# What may stand in which element, and its attributes: sros2's policy.xsd.
SCHEMA = {
    "policy": ({"enclaves"}, {"version"}),
    "enclaves": ({"enclave"}, set()),
    "enclave": ({"profiles"}, {"path"}),
    "profiles": ({"profile"}, set()),
    "profile": ({"topics", "services", "actions"}, {"ns", "node"}),
    "topics": ({"topic"}, {"publish", "subscribe"}),
    "services": ({"service"}, {"reply", "request"}),
    "actions": ({"action"}, {"call", "execute"}),
    "topic": (set(), set()),
    "service": (set(), set()),
    "action": (set(), set()),
}
# Services that rclpy 7, of Jazzy, does not have.
NEWER = {"get_type_description"}
Names = dict[str, set[str]]


@pytest.fixture(scope="module")
def policy() -> ElementTree.Element:
    return ElementTree.parse(POLICY).getroot()


def allowed(policy: ElementTree.Element, node: str, namespace: str = "/") -> Names:
    """The full names that a node may use, by permission, if its profile had ``namespace`` for ns."""
    (profile,) = policy.findall(f".//profile[@node='{node}']")
    names: Names = {}
    for group in profile:
        (permission,) = group.attrib
        for element in group:
            name = element.text or ""
            if name.startswith("~"):
                name = f"{node}{name[1:]}"
            full = name if name.startswith("/") else f"{namespace.rstrip('/')}/{name}"
            names.setdefault(permission, set()).add(full)
    return names


def used(node: Any) -> Names:
    """The full names that a running node has."""
    name, namespace = node.get_name(), node.get_namespace()
    actions = {found for found, _ in get_action_server_names_and_types_by_node(node, name, namespace)}
    called = {found for found, _ in get_action_client_names_and_types_by_node(node, name, namespace)}

    def names(of: Callable[..., Any]) -> set[str]:
        found = {each for each, _ in of(name, namespace)}
        return {each for each in found if "/_action/" not in each}

    return {
        "publish": names(node.get_publisher_names_and_types_by_node),
        "subscribe": names(node.get_subscriber_names_and_types_by_node),
        "reply": names(node.get_service_names_and_types_by_node),
        "request": names(node.get_client_names_and_types_by_node),
        "execute": actions,
        "call": called,
    }


def without_newer(names: Names) -> Names:
    kept = {key: {name for name in each if name.split("/")[-1] not in NEWER} for key, each in names.items()}
    return {key: each for key, each in kept.items() if each}


def test_the_file_has_the_form_that_sros2_reads(policy: ElementTree.Element) -> None:
    assert (policy.tag, policy.get("version")) == ("policy", "0.2.0")
    for element in policy.iter():
        children, attributes = SCHEMA[element.tag]
        assert {child.tag for child in element} <= children
        assert set(element.attrib) <= attributes
        assert bool(children) == bool(len(element)), f"an empty {element.tag}"
        if element.tag in ("topics", "services", "actions"):
            assert list(element.attrib.values()) == ["ALLOW"]
    paths = [enclave.get("path") for enclave in policy.iter("enclave")]
    assert len(set(paths)) == len(paths)


def test_names_are_relative_so_that_a_namespace_is_one_attribute(policy: ElementTree.Element) -> None:
    absolute = {name.text for name in policy.iter() if name.text and name.text.startswith("/")}
    assert absolute == {"/clock", "/diagnostics", "/parameter_events", "/rosout"}


def test_the_vla_node_may_use_all_that_it_has_and_nothing_else(
    policy: ElementTree.Element, vla: Callable[..., Any], scripted: Any
) -> None:
    together: Names = {}
    for namespace, transport in (("left", "raw"), ("right", "compressed")):
        parameters = {
            "images.transport": transport,
            "state.source": "topics",
            "state.gripper_joint": "finger",
            "state.gripper_open": 0.04,
            "use_sim_time": True,
        }
        started = vla(scripted(cameras=("static", "hand")), "active", parameters, namespace=namespace)
        for permission, names in used(started.node).items():
            relative = {name.removeprefix(f"/{namespace}") for name in names}
            together.setdefault(permission, set()).update(relative)
    assert without_newer(together) == without_newer(allowed(policy, "vla_node"))


@pytest.mark.parametrize(
    ("name", "make", "parameters"),
    [
        ("action_history_node", ActionHistoryNode, {}),
        ("arm_bridge_node", ArmBridgeNode, {"outputs": list(OUTPUTS)}),
    ],
)
def test_the_other_nodes_may_use_all_that_they_have_and_nothing_else(
    policy: ElementTree.Element, graph: Any, name: str, make: Any, parameters: dict[str, Any]
) -> None:
    overrides = [Parameter(key, value=value) for key, value in {"use_sim_time": True, **parameters}.items()]
    node = graph.add(make(context=graph.context, namespace="arm", parameter_overrides=overrides))
    assert without_newer(used(node)) == without_newer(allowed(policy, name, "/arm"))


def test_the_simulator_may_use_all_that_it_has_and_nothing_else(policy: ElementTree.Element, graph: Any) -> None:
    pytest.importorskip("mujoco")
    from robovlms_ros.nodes.sim_node import SimNode

    overrides = [Parameter("use_sim_time", value=True), Parameter("autostart", value=False)]
    node = graph.add(SimNode(context=graph.context, namespace="arm", parameter_overrides=overrides))
    graph.wait_for(lambda: node._simulation, "the simulator", timeout=60)
    assert without_newer(used(node)) == without_newer(allowed(policy, "sim_node", "/arm"))


def test_the_operator_asks_only_for_what_the_vla_node_offers(policy: ElementTree.Element) -> None:
    operator, vla = allowed(policy, "operator"), allowed(policy, "vla_node")
    own = {name for name in operator["reply"] if name.startswith("/operator/")}
    assert own == operator["reply"]
    assert operator["request"] <= vla["reply"]
    assert operator["call"] == vla["execute"]
    assert operator["subscribe"] <= vla["publish"]
    assert operator["publish"] - {"/parameter_events", "/rosout"} <= vla["subscribe"]
    assert "/action" not in operator["publish"]
    assert not {name for name in operator["request"] if "set_parameters" in name}
