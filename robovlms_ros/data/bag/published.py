"""Stretches of a recording of ``VLAAction``: what a policy node, or a teleoperator's bridge, sent to the arm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.data.bag.options import BagOptions
from robovlms_ros.data.bag.stretch import Stretch
from robovlms_ros.data.bag.tracks import NANOSECONDS, Track, gap_limit, usual_period
from robovlms_ros.data.bag.vla_action import MODE_DELTA, ROTATION_FORMATS
from robovlms_ros.data.report import DropReport
from robovlms_ros.data.rotations import axis_angle_to_rpy, rpy_to_axis_angle

# The opening is a float32 in the message.
_ROUNDING = 1e-6


class _Step(NamedTuple):
    stamp: int
    message: Any


def published_stretches(track: Track, name: str, options: BagOptions, report: DropReport) -> list[Stretch]:
    """Stretches of one bag: divided by episode, instruction, lost messages, pauses and jumps of the clock."""
    steps = [_Step(*pair) for pair in zip(track.stamped, track.messages, strict=True)]
    # Those who write the message by hand may leave the counter at 0.
    counted = any(step.message.sequence for step in steps)
    limit = gap_limit(track.stamps, options.max_gap)
    groups: list[list[_Step]] = []
    for step in steps:
        before = groups[-1][-1] if groups else None
        if before is None or _key(before) != _key(step) or not 0 <= step.stamp - before.stamp <= limit:
            groups.append([step])
            continue
        lost = step.message.sequence - before.message.sequence - 1 if counted else 0
        if lost == -1 or step.stamp == before.stamp:
            report.add("action recorded twice", "message", name)
        elif lost == 0:
            groups[-1].append(step)
        else:
            if lost > 0:
                report.add("action that was not recorded: a gap in the sequence", "message", name, count=lost)
            groups.append([step])
    return [_stretch(group, groups[0][0].message, usual_period(track.stamps), options) for group in groups]


def _key(step: _Step) -> tuple[int, str]:
    return step.message.episode, step.message.instruction


def _stretch(group: Sequence[_Step], first: Any, period_ns: int, options: BagOptions) -> Stretch:
    """``first`` is the bag's first message, whose frame and rotation format are the bag's."""
    messages = [step.message for step in group]
    actions = np.array([_row(message, first.rotation_format) for message in messages])
    still = ~actions[:, :6].any(axis=1)
    # The node stops the arm with such an action, stamped now; what a model predicts takes time.
    instant = np.array([not (m.inference_time.sec or m.inference_time.nanosec) for m in messages])
    duration = messages[0].step_duration
    seconds = duration.sec + duration.nanosec / NANOSECONDS
    instruction = options.instruction or messages[0].instruction
    faults = {i: fault for i, m in enumerate(messages) if (fault := _fault(m, first, instruction)) is not None}
    actions[:, 6] = actions[:, 6].clip(0, 1)
    return Stretch(
        instruction=instruction,
        stamps=np.array([step.stamp for step in group], dtype=np.int64),
        actions=actions,
        step_duration=seconds if seconds > 0 else max(period_ns, 1) / NANOSECONDS,
        frame=options.frame or first.header.frame_id,
        rotation_format="axis_angle" if ROTATION_FORMATS.get(first.rotation_format) == "axis_angle" else "rpy",
        exact=still & instant,
        faults=faults,
    )


def _row(message: Any, rotation_format: int) -> NDArray[np.float64]:
    move, turn = message.translation, np.array([message.rotation.x, message.rotation.y, message.rotation.z])
    if message.rotation_format != rotation_format and np.isfinite(turn).all():
        turn = (rpy_to_axis_angle if ROTATION_FORMATS.get(rotation_format) == "axis_angle" else axis_angle_to_rpy)(
            turn
        )
    return np.array([move.x, move.y, move.z, *turn, message.gripper], dtype=np.float64)


def _fault(message: Any, first: Any, instruction: str) -> str | None:
    if message.mode != MODE_DELTA:
        return "the action is an absolute pose; only motions relative to the current pose can be learnt"
    if message.rotation_format not in ROTATION_FORMATS:
        return f"unknown rotation format {message.rotation_format}"
    if message.header.frame_id != first.header.frame_id:
        return f"the action is in frame {message.header.frame_id!r}, the first one in {first.header.frame_id!r}"
    if not instruction.strip():
        return "no instruction: give one with --instruction"
    if not -_ROUNDING <= message.gripper <= 1 + _ROUNDING and np.isfinite(message.gripper):
        return "the gripper opening is not in [0, 1]"
    return None
