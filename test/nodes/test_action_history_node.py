from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
from rclpy.parameter import Parameter

from robovlms_ros.nodes.action_history_node import ENDPOINTS, ActionHistoryNode
from robovlms_ros.ros.interfaces import ActionHistory, VLAAction
from robovlms_ros.ros.messages import to_time

SECOND = 1_000_000_000


class Bench:
    """The node, and what it makes of actions."""

    def __init__(self, graph: Any, length: Any = 4) -> None:
        self.graph = graph
        overrides = [Parameter("history.length", value=length)]
        self.node = graph.add(ActionHistoryNode(context=graph.context, parameter_overrides=overrides))
        self.histories = graph.collect(ActionHistory, "action_history", 100)
        self.actions = graph.publisher(VLAAction, "action", 100)
        graph.wait_for(lambda: self.node._publisher.get_subscription_count(), "a listener")

    def push(self, sequence: int, episode: int = 0, value: float | None = None, stamp: int | None = None) -> None:
        message = VLAAction(sequence=sequence, episode=episode)
        message.model_action = np.full(7, sequence if value is None else value, np.float32)
        message.header.stamp = to_time(SECOND * (1000 * episode + sequence) if stamp is None else stamp)
        message.header.frame_id = "base_link"
        self.actions.publish(message)

    def after(self, *sequences: int, episode: int = 0) -> Any:
        """Publish actions one after the other and return the history that follows the last."""
        for sequence in sequences:
            known = len(self.histories)
            self.push(sequence, episode)
            self.graph.wait_for(lambda known=known: len(self.histories) > known, f"a history after {sequence}")
        return self.histories[-1]


@pytest.fixture
def bench(graph: Any) -> Bench:
    return Bench(graph)


def rows(message: Any) -> list[float | None]:
    values = np.array(message.actions).reshape(message.length, message.action_dim)
    return [float(row[0]) if valid else None for row, valid in zip(values, message.valid, strict=True)]


def test_one_history_follows_each_action_and_shares_its_header(bench: Bench) -> None:
    message = bench.after(0, 1)
    assert rows(message) == [None, None, 0.0, 1.0]
    assert (message.length, message.action_dim, message.episode, message.sequence) == (4, 7, 0, 1)
    assert (message.header.stamp.sec, message.header.frame_id) == (1, "base_link")
    assert len(bench.histories) == 2


@pytest.mark.fault(26)
def test_a_lost_action_is_an_invalid_row_not_a_shift(bench: Bench) -> None:
    assert rows(bench.after(0, 1, 3)) == [0.0, 1.0, None, 3.0]
    assert bench.node._status().message == "1 actions lost"


@pytest.mark.fault(27)
def test_a_late_action_takes_its_place(bench: Bench) -> None:
    message = bench.after(0, 2, 1)
    assert rows(message) == [None, 0.0, 1.0, 2.0]
    assert message.sequence == 2


@pytest.mark.fault(28)
def test_a_new_episode_clears_the_window(bench: Bench) -> None:
    bench.after(0, 1, 2)
    assert rows(bench.after(0, episode=1)) == [None, None, None, 0.0]


def test_an_action_that_is_not_finite_is_ignored(bench: Bench) -> None:
    bench.after(0)
    bench.push(1, value=float("nan"))
    bench.graph.wait_for(lambda: bench.node._refused == 1, "the refusal")
    assert rows(bench.after(2)) == [None, 0.0, None, 2.0]


def test_a_wrong_length_leaves_a_node_with_the_default(graph: Any) -> None:
    bench = Bench(graph, length=0)
    assert bench.after(0).length == 16


def test_the_help_names_every_topic_that_the_node_has(bench: Bench) -> None:
    node = bench.node
    name, namespace = node.get_name(), node.get_namespace()
    found = node.get_subscriber_names_and_types_by_node(name, namespace)
    found += node.get_publisher_names_and_types_by_node(name, namespace)
    standard = {"/parameter_events", "/rosout", "/clock"}
    assert {topic for topic, _ in found} - standard == {node.resolve_topic_name(e.name) for e in ENDPOINTS}
