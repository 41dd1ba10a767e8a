"""What a bag tells of the run that it was recorded from: its actions, and the card of its model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from robovlms_ros.data.bag.tracks import NANOSECONDS
from robovlms_ros.data.bag.vla_action import ROTATION_FORMATS
from robovlms_ros.replay.result import RecordedAction

# What makes two models the same for an arm, in the order of importance.
COMPARED = (
    *("weights_sha256", "model_id", "backbone", "policy_head", "window", "chunk", "action_encoder", "state_dim"),
    *("robot", "action_frame", "rotation_format", "step_duration", "cameras_used", "image_size"),
    *("dtype", "device", "preprocess", "untrained"),
)
ABSENT = "nothing"


def recorded_action(message: Any, number: int, time_ns: int) -> RecordedAction:
    """Return a decoded ``VLAAction``. Raises ValueError where it holds what no node publishes."""
    move, turn, header = message.translation, message.rotation, message.header
    if message.rotation_format not in ROTATION_FORMATS:
        raise ValueError(f"unknown rotation format {message.rotation_format}")
    row = tuple(float(value) for value in (move.x, move.y, move.z, turn.x, turn.y, turn.z, message.gripper))
    try:
        return RecordedAction(
            number=number,
            time_ns=time_ns,
            stamp_ns=_nanoseconds(header.stamp),
            episode=int(message.episode),
            sequence=int(message.sequence),
            instruction=str(message.instruction),
            action=row,
            normalized=tuple(float(value) for value in message.model_action),
            saturated=int(message.saturated),
            step_index=int(message.step_index),
            chunk_size=int(message.chunk_size),
            frame=str(header.frame_id),
            rotation_format=ROTATION_FORMATS[message.rotation_format],  # type: ignore[arg-type]
            model_id=str(message.model_id),
            latency=_nanoseconds(message.latency) / NANOSECONDS,
            inference_time=_nanoseconds(message.inference_time) / NANOSECONDS,
        )
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from error


def card_differences(recorded: Mapping[str, Any], loaded: Mapping[str, Any]) -> tuple[str, ...]:
    """Return in words what the loaded model has otherwise than the one of the recording."""
    return tuple(
        f"{key}: recorded with {recorded.get(key, ABSENT)}, replayed with {loaded.get(key, ABSENT)}"
        for key in COMPARED
        if key in recorded and recorded[key] != loaded.get(key)
    )


def _nanoseconds(stamp: Any) -> int:
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)
