"""The parameters of arm_bridge_node and the settings made from them. config/vla.yaml holds the same keys."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from robovlms_ros.policy.arm_bridge import BridgeSettings, in_lock_step
from robovlms_ros.policy.arm_outputs import GripperSettings, PoseSettings, TwistSettings
from robovlms_ros.policy.parameters import ParameterTable, Row

OUTPUTS = ("twist", "pose", "array", "trajectory")

# fmt: off
ARM_BRIDGE_NODE = ParameterTable([
    Row("outputs", ("twist",), "What is published: `twist` a velocity, `pose` a target for the tool, `array` "
        "numbers (see array.content), `trajectory` the finger joints.", "at start", choices=OUTPUTS),
    Row("lock_step", False, "Whether each action is one command, stamped as its image and never repeated or ended "
        "by time, for a simulator that waits for it.", "at start"),
    Row("frame", "", "Frame named in commands; empty = the action's. It renames, it does not transform.",
        "at start"),
    Row("max_age", 1.0, "Seconds that an action may be late: after its image, and for each of its chunk "
        "before it a step later.", "any time",
        low=0.01, high=60.0),
    Row("future_tolerance", 0.2, "Seconds that an action's stamp may lie ahead of the node's clock.", "any time",
        low=0.0, high=60.0),
    Row("timeout", 1.0, "Seconds without an action after which the arm is stopped, whatever the last one said.",
        "any time", low=0.01, high=60.0),
    Row("limits.linear", 0.25, "Highest speed of any command in m/s; 0 = no limit.", "any time",
        low=0.0, high=10.0),
    Row("limits.angular", 1.0, "Highest speed of turning of any command in rad/s; 0 = no limit.", "any time",
        low=0.0, high=31.4),
    Row("twist.units", "speed_units", "`speed_units` are m/s and rad/s, `unitless` is at most 1: moveit_servo's "
        "command_in_type.", "at start", choices=("speed_units", "unitless")),
    Row("twist.linear_scale", 0.4, "m/s that are 1 in unitless twists: moveit_servo's scale.linear.", "at start",
        low=0.001, high=10.0),
    Row("twist.angular_scale", 0.8, "rad/s that are 1 in unitless twists: moveit_servo's scale.rotational.",
        "at start", low=0.001, high=31.4),
    Row("twist.hold", 1.0, "Step durations that a velocity lasts at most; above 1 it bridges a late action, and "
        "the last one goes too far by as much.", "any time", low=1.0, high=5.0),
    Row("twist.repeat_rate", 50.0, "Times per second that a velocity is repeated while it lasts; 0 = sent once.",
        "any time", low=0.0, high=500.0),
    Row("pose.anchor", "commanded", "Where a motion starts: at the target `commanded` last, or at the `measured` "
        "pose.", "at start", choices=("commanded", "measured")),
    Row("pose.max_age", 0.2, "Seconds after which the measured pose is too old to be used.", "any time",
        low=0.001, high=60.0),
    Row("pose.rate", 50.0, "Targets per second on the way of a motion; 0 = its end at once.", "any time",
        low=0.0, high=500.0),
    Row("pose.lead.translation", 0.1, "Metres that a target may be away from the measured pose; 0 = any.",
        "any time", low=0.0, high=10.0),
    Row("pose.lead.rotation", 0.5, "Radians that a target may be away from the measured pose; 0 = any.",
        "any time", low=0.0, high=3.15),
    Row("array.content", "gripper", "`gripper` one position per finger joint, `twist` the six numbers of the "
        "twist and then those positions.", "at start", choices=("gripper", "twist")),
    Row("gripper.joints", ("finger_joint",), "Finger joints, in the order of the positions.", "at start"),
    Row("gripper.closed", (0.0,), "Position of each finger joint, or of all, where the gripper is closed.",
        "at start"),
    Row("gripper.open", (0.04,), "Position of each finger joint, or of all, where the gripper is open.",
        "at start"),
    Row("gripper.duration", 0.5, "Seconds that a trajectory gives the fingers to get there.", "any time",
        low=0.01, high=60.0),
    Row("gripper.repeat", 1.0, "Seconds after which an unchanged gripper command is sent again, while actions "
        "come; 0 = never.", "any time", low=0.0, high=3600.0),
])
# fmt: on


def bridge_settings(values: Mapping[str, Any]) -> BridgeSettings:
    """Return the settings of the bridge. Raises ValueError where parameters contradict each other."""
    scales = (values["twist.linear_scale"], values["twist.angular_scale"])
    settings = BridgeSettings(
        outputs=_kinds(values),
        twist=TwistSettings(
            hold=values["twist.hold"],
            period_ns=_period_ns(values["twist.repeat_rate"]),
            scales=scales if values["twist.units"] == "unitless" else None,
        ),
        pose=PoseSettings(
            anchor=values["pose.anchor"],
            max_age_ns=_nanoseconds(values["pose.max_age"]),
            lead=(_or_any(values["pose.lead.translation"]), _or_any(values["pose.lead.rotation"])),
            period_ns=_period_ns(values["pose.rate"]),
        ),
        gripper=GripperSettings(
            closed=_per_joint(values, "gripper.closed"),
            opened=_per_joint(values, "gripper.open"),
            repeat_ns=_nanoseconds(values["gripper.repeat"]),
        ),
        max_age_ns=_nanoseconds(values["max_age"]),
        future_tolerance_ns=_nanoseconds(values["future_tolerance"]),
        timeout_ns=_nanoseconds(values["timeout"]),
        linear=_or_any(values["limits.linear"]),
        angular=_or_any(values["limits.angular"]),
    )
    return in_lock_step(settings) if values["lock_step"] else settings


def gripper_duration_ns(values: Mapping[str, Any]) -> int:
    """Return the time that a trajectory gives the fingers."""
    return _nanoseconds(values["gripper.duration"])


def _kinds(values: Mapping[str, Any]) -> frozenset[str]:
    """What has to be decided for the outputs asked for."""
    outputs = set(values["outputs"])
    kinds = outputs & {"twist", "pose"}
    if outputs & {"array", "trajectory"}:
        kinds.add("gripper")
    if "array" in outputs and values["array.content"] == "twist":
        kinds.add("twist")
    return frozenset(kinds)


def _per_joint(values: Mapping[str, Any], name: str) -> tuple[float, ...]:
    positions, joints = values[name], values["gripper.joints"]
    if len(positions) not in (1, len(joints)):
        raise ValueError(
            f"{name} has {len(positions)} positions for {len(joints)} gripper.joints; give 1 or as many"
        )
    return tuple(positions) if len(positions) == len(joints) else tuple(positions) * len(joints)


def _or_any(limit: float) -> float:
    return limit or math.inf


def _period_ns(rate: float) -> int:
    return _nanoseconds(1 / rate) if rate else 0


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
