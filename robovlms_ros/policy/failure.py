"""What an exception out of an inference means for the steps after it."""

from __future__ import annotations

from dataclasses import dataclass

from robovlms_ros.model.errors import DeviceMemoryError, ObservationError
from robovlms_ros.policy.frames import FrameError
from robovlms_ros.policy.safety import ActionError


@dataclass(frozen=True)
class Failure:
    """``reason`` is the name under which it is counted.

    ``input_fault``: the input was to blame and the session is as before; otherwise the episode starts again.
    ``hopeless``: a next try would do more harm.
    """

    reason: str
    input_fault: bool = False
    hopeless: bool = False


def failure_of(error: Exception) -> Failure:
    """Judge what `Controller.infer` raised."""
    if isinstance(error, FrameError):
        return Failure("undecodable image", input_fault=True)
    if isinstance(error, ObservationError):
        return Failure("unusable observation", input_fault=True)
    if isinstance(
        error, DeviceMemoryError
    ):  # a next try would fill it again, and perhaps take another process along
        return Failure("out of memory", hopeless=True)
    return Failure(error.kind if isinstance(error, ActionError) else "inference failed")
