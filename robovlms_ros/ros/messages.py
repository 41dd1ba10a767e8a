"""Policy types to messages and back. Every unit and frame is documented in msg/*.msg."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Duration, Time
from numpy.typing import NDArray

from robovlms_ros.policy.decision import Action
from robovlms_ros.policy.safety import ACTION_DIM
from robovlms_ros.policy.types import HistoryWindow
from robovlms_ros.ros.interfaces import ActionHistory, VLAAction, VLAActionChunk

ROTATION_FORMATS = {"rpy": VLAAction.ROTATION_RPY, "axis_angle": VLAAction.ROTATION_AXIS_ANGLE}
# A window longer than this is no action history but a mistake, or worse.
MAX_HISTORY = 4096


class MessageError(ValueError):
    """A message whose fields contradict each other; it is dropped."""


@dataclass(frozen=True)
class ActionSpace:
    """What all actions of one loaded model have in common. ``step_duration`` in seconds."""

    frame: str
    rotation_format: str
    step_duration: float
    model_id: str


def to_nanoseconds(stamp: Time | Duration) -> int:
    """Return a stamp or a duration as nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def to_time(nanoseconds: int) -> Time:
    """Return nanoseconds as a stamp."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return Time(sec=seconds, nanosec=rest)


def to_duration(nanoseconds: int) -> Duration:
    """Return nanoseconds as a duration; a negative one has negative seconds and a positive rest."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return Duration(sec=seconds, nanosec=rest)


def action_message(action: Action, space: ActionSpace, now_ns: int) -> VLAAction:
    """Return ``action`` as a message that is published at ``now_ns``."""
    return _message(action, space, now_ns, action.action, action.normalized, action.saturated, action.step_index)


def chunk_message(action: Action, space: ActionSpace, now_ns: int) -> VLAActionChunk | None:
    """Return the chunk that ``action`` begins, or None where it begins none."""
    if action.chunk is None:
        return None
    chunk = action.chunk
    message = VLAActionChunk()
    message.steps = [
        _message(action, space, now_ns, row, normalized, int(saturated), index)
        for index, (row, normalized, saturated) in enumerate(
            zip(chunk.actions, chunk.normalized, chunk.saturated, strict=True)
        )
    ]
    message.header = message.steps[0].header
    return message


def _message(
    action: Action,
    space: ActionSpace,
    now_ns: int,
    row: NDArray[np.float64],
    normalized: NDArray[np.float32],
    saturated: int,
    step_index: int,
) -> VLAAction:
    message = VLAAction()
    message.header.stamp = to_time(action.stamp_ns)
    message.header.frame_id = space.frame
    message.mode = VLAAction.MODE_DELTA
    x, y, z, *rotation, gripper = row.tolist()
    message.translation.x, message.translation.y, message.translation.z = x, y, z
    message.rotation.x, message.rotation.y, message.rotation.z = rotation
    message.rotation_format = ROTATION_FORMATS[space.rotation_format]
    message.gripper = gripper
    message.gripper_closed = gripper < 0.5
    message.step_duration = to_duration(round(space.step_duration * 1e9))
    message.step_index = step_index
    message.chunk_size = action.chunk_size
    message.sequence = action.sequence
    message.episode = action.episode
    message.saturated = saturated
    message.confidence = -1.0
    message.model_action = normalized.astype(np.float32)
    message.inference_time = to_duration(round(action.timings.get("model", 0.0) * 1e9))
    message.latency = to_duration(now_ns - action.stamp_ns)
    message.model_id = space.model_id
    message.instruction = action.instruction
    return message


def history_message(action: VLAAction, window: HistoryWindow, sequence: int) -> ActionHistory:
    """Return the history that ``action`` completed; ``sequence`` is the number of its newest row."""
    message = ActionHistory()
    message.header = action.header
    message.length, message.action_dim = window.actions.shape
    message.actions = window.actions.ravel()
    message.valid = window.valid.tolist()
    message.episode = action.episode
    message.sequence = sequence
    return message


def history_window(message: ActionHistory) -> HistoryWindow:
    """Return the rows of ``message``. Raises MessageError where sizes disagree or a number is not finite."""
    length, action_dim = message.length, message.action_dim
    if not 1 <= length <= MAX_HISTORY or action_dim != ACTION_DIM:
        raise MessageError(f"it has {length} rows of {action_dim} numbers, not 1 to {MAX_HISTORY} of {ACTION_DIM}")
    actions = np.asarray(message.actions, dtype=np.float32)
    valid = np.asarray(message.valid, dtype=np.bool_)
    if actions.size != length * action_dim or valid.size != length:
        raise MessageError(
            f"length is {length} and action_dim {action_dim}, but there are {actions.size} numbers "
            f"and {valid.size} flags"
        )
    if not np.isfinite(actions).all():
        raise MessageError("it holds a number that is not finite")
    return HistoryWindow(actions.reshape(length, action_dim), valid)
