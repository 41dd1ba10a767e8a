"""What the nodes beside the vla_node may be sent, and their sudden ends."""

from __future__ import annotations

import math
import time
from typing import Any

from builtin_interfaces.msg import Duration
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from robovlms_ros.ros import qos
from robovlms_ros.ros.interfaces import ActionHistory, VLAAction
from robovlms_ros.ros.messages import to_time
from robovlms_ros.soak.nodes import BRIDGE, HISTORY, VLA
from robovlms_ros.soak.rig import Rig
from robovlms_ros.soak.witness import HOSTILE_MODEL

# Seconds that a process may need to start and be found on a busy machine.
START_UP = 15.0


def bad_actions(rig: Rig) -> None:
    """Send the bridge and the history node actions that nobody may execute or remember."""
    for changes in (
        {},
        {"mode": 77},
        {"rotation_format": 77},
        {"gripper": math.nan},
        {"header": Header(frame_id="")},
        {"step_duration": Duration(sec=-1)},
    ):
        message = VLAAction(model_id=HOSTILE_MODEL, sequence=2**40, episode=2**31, model_action=[math.nan] * 7)
        message.header.frame_id = "base_link"
        message.header.stamp = to_time(time.time_ns())
        message.step_duration = Duration(nanosec=33_000_000)
        message.translation.x = math.inf
        for name, value in changes.items():
            setattr(message, name, value)
        rig.hostile_actions.publish(message)
    rig.pause(0.2)


def killed_bridge(rig: Rig) -> None:
    """Kill the bridge and start another."""
    rig.restart(BRIDGE)
    before = rig.arm.commands
    rig.wait_for(lambda: rig.arm.commands > before, "commands of the new bridge", START_UP)


def bad_history(rig: Rig) -> None:
    """Send windows that contradict themselves or hold what is no number."""
    for changes in ({"length": 3}, {"action_dim": 6}, {"length": 2**31}, {"actions": [math.nan] * 14}):
        message = ActionHistory(length=2, action_dim=7, actions=[0.0] * 14, valid=[True] * 2)
        for name, value in changes.items():
            setattr(message, name, value)
        rig.histories.publish(message)
    rig.pause(0.2)


def killed_history(rig: Rig) -> None:
    """Kill the history node and start another; meanwhile the arm goes on."""
    before = rig.watcher.actions
    rig.restart(HISTORY)
    rig.wait_for(lambda: rig.watcher.actions > before + 5, "actions without a history node")
    since = time.time_ns()
    rig.wait_for(lambda: rig.witness.acted_since(since), "a history of the new node", START_UP)


def watched_overlay(rig: Rig) -> None:
    """Look at ~/overlay for a moment: pictures come, and the arm goes on."""
    pictures: list[Image] = []
    node, before = rig.graph.node, rig.watcher.actions
    seen: Any = rig.graph.between(
        lambda: node.create_subscription(Image, f"{VLA}/overlay", pictures.append, qos.volatile())
    )
    rig.wait_for(lambda: pictures, "a picture")
    rig.wait_for(lambda: rig.watcher.actions > before + 5, "actions while somebody looks")
    rig.graph.between(lambda: node.destroy_subscription(seen))
