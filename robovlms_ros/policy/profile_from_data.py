"""Writes the robot profile of a dataset: its statistics, frame, rotation format and period."""

from __future__ import annotations

import math

import numpy as np
import yaml
from numpy.typing import NDArray

from robovlms_ros.data.episodes import RotationFormat
from robovlms_ros.policy.robot_profile import RobotProfile

_TEMPLATE = """\
# Made by 'robovlms data stats' from {dataset}: {episodes} episodes, {steps} steps.
# docs/robot-profiles.md explains the keys.
{head}
# Seconds that one action takes: the period of the recording.
step_duration: {step_duration}
# 1 % and 99 % quantiles of the recorded actions: x y z roll pitch yaw, metres and radians.
statistics:
  q01: {q01}
  q99: {q99}
gripper:
  # The answer is the command; see docs/robot-profiles.md for grippers that chatter.
  machine: threshold
# Norms of one step, in metres and radians: the corners of the quantile box. Lower them for the first runs.
limits: {limits}
# A box that the tool must not leave, in metres in the frame above.
workspace: null
"""


def profile_from_data(
    name: str,
    q01: NDArray[np.float64],
    q99: NDArray[np.float64],
    *,
    frame: str,
    rotation_format: RotationFormat,
    step_duration: float,
    dataset: str,
    episodes: int,
    steps: int,
) -> str:
    """The YAML of a robot profile, checked by `RobotProfile`; q01 and q99 are ``(6,)``, metres and radians."""
    reach = np.maximum(np.abs(q01), np.abs(q99))
    head = {"name": name, "frame": frame, "rotation_format": rotation_format}
    text = _TEMPLATE.format(
        dataset=dataset.replace("\n", " "),
        episodes=episodes,
        steps=steps,
        # YAML decides whether a name needs quotes.
        head=yaml.safe_dump(head, sort_keys=False).rstrip(),
        step_duration=_flow([step_duration])[1:-1],
        q01=_flow(q01.tolist()),
        q99=_flow(q99.tolist()),
        limits=_flow({"translation": _rounded_up(reach[:3]), "rotation": _rounded_up(reach[3:])}),
    )
    RobotProfile.model_validate(yaml.safe_load(text))
    return text


def _flow(value: object) -> str:
    """``value`` on one line. Python's own ``1e-09`` would be a text in YAML."""
    return str(yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)).rstrip()


def _rounded_up(vector: NDArray[np.float64]) -> float:
    """The norm of ``vector`` with two significant digits, never less."""
    value = float(np.linalg.norm(vector))
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / unit - 1e-9) * unit:.2g}")
