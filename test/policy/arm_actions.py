"""Actions and poses for the tests of the bridge to arm controllers."""

from __future__ import annotations

from typing import Any

import numpy as np

from robovlms_ros.policy.arm_command import ArmAction, Pose, make_pose

MS = 1_000_000
SECOND = 1000 * MS
START = 1000 * SECOND


def action(**changes: Any) -> ArmAction:
    """2 cm along x and a tenth of a radian about z in 0.1 s, gripper open, of an image 20 ms ago."""
    values: dict[str, Any] = {
        "stamp_ns": START - 20 * MS,
        "frame": "base_link",
        "translation": np.array([0.02, 0.0, 0.0]),
        "rotation": np.array([0.0, 0.0, 0.1]),
        "rotation_format": "rpy",
        "opening": 1.0,
        "step_ns": 100 * MS,
    } | changes
    for name in ("translation", "rotation"):
        values[name] = np.asarray(values[name], dtype=np.float64)
    return ArmAction(**values)


def pose(x: float = 0.0, y: float = 0.0, z: float = 0.0, frame: str = "base_link", **turn: Any) -> Pose:
    """A pose that is not turned, unless ``quaternion`` is given."""
    return make_pose(frame, (x, y, z), turn.get("quaternion", (0.0, 0.0, 0.0, 1.0)))


def play(bridge: Any, until_ns: int, delay_ns: int = 0) -> list[tuple[int, Any]]:
    """Let time go on to ``until_ns``; return what was sent and when.

    Each tick comes ``delay_ns`` after it was due, as timers do.
    """
    sent = []
    while bridge.due_ns is not None and bridge.due_ns + delay_ns <= until_ns:
        now = bridge.due_ns + delay_ns
        sent.append((now, bridge.tick(now)))
    return sent
