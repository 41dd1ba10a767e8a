"""What rclpy serialises is what the importer reads: a bag with the bytes of the real message classes."""

from __future__ import annotations

import array
from pathlib import Path

import bags
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from robovlms_ros.data.bag.source import BagSource
from robovlms_ros.data.bag.vla_action import TYPE_NAME
from robovlms_ros.policy.decision import Action

pytest.importorskip("rclpy")


def test_actions_that_the_node_makes_come_back(tmp_path: Path) -> None:
    from rclpy.serialization import serialize_message
    from sensor_msgs.msg import Image

    from robovlms_ros.ros.messages import ActionSpace, action_message, to_time

    rows = bags.rows(4)
    rows[:, 6] = [0, 1, 0.25, 0.5]
    space = ActionSpace("base_link", "axis_angle", 0.125, "tiny/LSTM@0")
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {
            topic: writer.add_connection(topic, kind, typestore=bags.STORE)
            for topic, kind in (("/camera", "sensor_msgs/msg/Image"), ("/action", TYPE_NAME))
        }
        for i, row in enumerate(rows):
            stamp = bags.ns(i / 8)
            pixels = bags.picture(i)
            image = Image(height=8, width=10, encoding="rgb8", step=30)
            image.data = array.array("B", pixels.tobytes())
            image.header.stamp = to_time(stamp)
            action = Action(stamp, 3, i, "wave", row, np.zeros(7, np.float32), timings={"model": 0.02})
            message = action_message(action, space, stamp + 50_000_000)
            writer.write(connections["/camera"], stamp + 1, serialize_message(image))
            writer.write(connections["/action"], stamp + 2, serialize_message(message))
    (episode,) = BagSource([tmp_path / "bag"])
    assert (episode.instruction, episode.step_duration, episode.faults) == ("wave", 0.125, {})
    np.testing.assert_array_equal(episode.actions, rows)
    np.testing.assert_array_equal(episode.image("static", 3), bags.picture(3))
