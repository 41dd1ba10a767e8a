"""config/foxglove/robovlms.json shows topics that vla_node has, and fields that their messages have."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

from robovlms_ros.nodes.vla_node import ENDPOINTS

LAYOUT = json.loads((Path(__file__).resolve().parents[2] / "config/foxglove/robovlms.json").read_text())
PANELS: dict[str, dict[str, Any]] = LAYOUT["configById"]
# As the node is called where nobody renames it.
NAMES = {endpoint.name.replace("~", "/vla_node"): endpoint for endpoint in ENDPOINTS}
TOPICS = {f"/{name.lstrip('/')}": endpoint for name, endpoint in NAMES.items()}


def panels(kind: str) -> list[dict[str, Any]]:
    found = [config for name, config in PANELS.items() if name.split("!")[0] == kind]
    assert found, kind
    return found


def field_exists(topic: str, path: list[str]) -> bool:
    """Whether a message of this topic has a field of this path, such as ``translation.x``."""
    name = TOPICS[topic].type
    for part in path:
        package, _, kind = name.replace("/msg/", "/").partition("/")
        fields = getattr(importlib.import_module(f"{package}.msg"), kind).get_fields_and_field_types()
        if part not in fields:
            return False
        name = fields[part]
    return True


def shown(node: Any) -> list[str]:
    """The panels of a layout's tree."""
    return [node] if isinstance(node, str) else shown(node["first"]) + shown(node["second"])


def test_every_panel_is_shown_once_and_every_shown_one_is_there() -> None:
    assert sorted(shown(LAYOUT["layout"])) == sorted(PANELS)


def test_images_are_topics_of_images() -> None:
    topics = [config["imageMode"]["imageTopic"] for config in panels("Image")]
    assert {TOPICS[topic].type for topic in topics} == {"sensor_msgs/msg/Image"}
    assert "/vla_node/overlay" in topics


def test_plots_and_raw_messages_name_fields_that_exist() -> None:
    paths = [line["value"] for config in panels("Plot") for line in config["paths"]]
    paths += [config["topicPath"] for config in panels("RawMessages")]
    for path in paths:
        topic, *fields = path.split(".")
        assert topic in TOPICS, path
        assert field_exists(topic, fields), path
    assert not field_exists("/action", ["translation", "w"])


def test_what_is_published_and_called_is_heard_and_served() -> None:
    for config in panels("Publish"):
        endpoint = TOPICS[config["topicName"]]
        assert (endpoint.kind, endpoint.type) == ("subscribes", config["datatype"])
        assert set(json.loads(config["value"])) == {"data"}
    for config in panels("CallService"):
        assert TOPICS[config["serviceName"]].kind == "serves"
    for config in panels("DiagnosticSummary"):
        assert TOPICS[config["topicToRender"]].type == "diagnostic_msgs/msg/DiagnosticArray"
