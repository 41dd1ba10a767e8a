"""The feedback of executed actions into the vla_node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from robovlms_ros.ros.interfaces import ActionHistory

Start = Callable[..., Any]


def history(episode: int, sequence: int, value: float, length: int = 2) -> ActionHistory:
    message = ActionHistory(length=length, action_dim=7, episode=episode, sequence=sequence)
    message.actions = [value] * (7 * length)
    message.valid = [True] * length
    return message


@pytest.mark.fault(30)
def test_the_node_acts_without_a_history_node_and_marks_the_window_empty(vla: Start) -> None:
    node = vla()
    node.say("go")
    node.act()
    node.act()
    assert not node.policy.seen[-1].history.valid.any()


@pytest.mark.fault(18)
def test_the_received_history_is_what_the_policy_sees(vla: Start) -> None:
    node = vla(parameters={"history.length": 4})
    node.say("go")
    node.act()
    publisher = node.graph.publisher(ActionHistory, "action_history")
    publisher.publish(history(0, 0, 0.5, length=1))
    node.graph.wait_for(lambda: node.node._runtime.controller.received_history, "the history")
    node.act()
    window = node.policy.seen[-1].history
    assert window.valid.tolist() == [False, False, False, True]
    np.testing.assert_array_equal(window.actions[-1], np.full(7, 0.5, np.float32))


@pytest.mark.fault(18)
def test_of_a_history_longer_than_the_window_the_newest_rows_are_seen(vla: Start) -> None:
    node = vla(parameters={"history.length": 2})
    node.say("go")
    for _ in range(3):
        node.act()
    message = history(0, 2, 0.0, length=5)
    message.valid = [False, False, True, True, True]
    message.actions = [float(row) for row in range(5) for _ in range(7)]
    publisher = node.graph.publisher(ActionHistory, "action_history")
    publisher.publish(message)
    node.graph.wait_for(lambda: node.node._runtime.controller.received_history, "the history")
    node.act()
    window = node.policy.seen[-1].history
    assert window.valid.tolist() == [True, True]
    assert window.actions[:, 0].tolist() == [3.0, 4.0]


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
        graph.wait_for(lambda n=number: controller.received_history == (0, n), "the history")
    assert [message.sequence for message in histories] == [0, 1, 2, 3]
    window = node.policy.seen[3].history
    assert window.valid.all()
    for row, action in zip(window.actions, node.actions[:3], strict=True):
        np.testing.assert_array_equal(row, action.model_action)
