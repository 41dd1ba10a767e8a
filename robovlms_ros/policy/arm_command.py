"""An executed action as arm controllers take it: a velocity, a target pose, finger positions. Pure, no state.

Everything is metres, radians and seconds. A *displacement* is ``(6,)``: a translation, then a rotation as unit
axis times angle, both in one fixed frame. Turned at a constant angular velocity, such a rotation is reached
exactly; angles of roll, pitch and yaw divided by time are no angular velocity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.data.quaternions import (
    axis_angle_to_quaternion,
    conjugate,
    multiply,
    quaternion_to_axis_angle,
)
from robovlms_ros.data.rotations import rpy_to_axis_angle
from robovlms_ros.policy.safety import Limits, limit_actions

Array = NDArray[np.float64]

# Drivers round; a quaternion whose length differs by more than this is no rotation.
NORM_TOLERANCE = 0.01


class CommandError(ValueError):
    """An action that must not become a command. ``kind`` is the name under which it is counted."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class ArmAction:
    """One action as it came in: msg/VLAAction.msg without what a controller has no use for.

    ``translation`` and ``rotation`` are ``(3,)``, ``rotation_format`` is "rpy" or "axis_angle", ``opening`` the
    gripper's. ``absolute`` makes them a pose in ``frame`` instead of a displacement.
    """

    stamp_ns: int
    frame: str
    translation: Array
    rotation: Array
    rotation_format: str
    opening: float
    step_ns: int
    sequence: int = 0
    episode: int = 0
    absolute: bool = False
    step_index: int = 0
    """Steps after ``stamp_ns`` for which the action is meant: its row in the predicted chunk."""


@dataclass(frozen=True)
class Pose:
    """A pose in ``frame``: position ``(3,)``, unit quaternion ``(4,)``, x y z w."""

    frame: str
    position: Array
    quaternion: Array


def check_action(action: ArmAction) -> None:
    """Raise CommandError unless all numbers are finite and of the right count, and the step takes time."""
    for name, vector in (("translation", action.translation), ("rotation", action.rotation)):
        if vector.shape != (3,):
            raise CommandError("wrong size", f"its {name} has shape {vector.shape}, not (3,)")
        if not np.isfinite(vector).all():
            raise CommandError("not finite", f"its {name} is {vector.tolist()}")
    if not np.isfinite(action.opening):
        raise CommandError("not finite", f"its gripper opening is {action.opening}")
    if action.step_ns <= 0:
        raise CommandError("no step duration", f"its step_duration is {action.step_ns * 1e-9:g} s")


def make_pose(frame: str, position: Sequence[float], quaternion: Sequence[float]) -> Pose:
    """Return a checked pose with a quaternion of length 1.

    Raises CommandError where a number is not finite or the quaternion is none of a rotation.
    """
    place, turn = np.asarray(position, np.float64), np.asarray(quaternion, np.float64)
    if not (np.isfinite(place).all() and np.isfinite(turn).all()):
        raise CommandError("invalid tool pose", f"the tool pose {place.tolist()}, {turn.tolist()} is not finite")
    # Before its squares could overflow.
    largest = float(np.abs(turn).max())
    norm = float(np.linalg.norm(turn)) if largest < 2.0 else largest
    if abs(norm - 1.0) > NORM_TOLERANCE:
        raise CommandError("invalid tool pose", f"the tool pose's quaternion {turn.tolist()} is not of length 1")
    return Pose(frame, place, turn / norm)


def rotation_vector(rotation: Array, rotation_format: str) -> Array:
    """Return a rotation ``(3,)`` as unit axis times angle. Roll, pitch, yaw become the shorter way round."""
    if rotation_format == "axis_angle":
        return rotation
    vector = rpy_to_axis_angle(rotation)
    angle = float(np.linalg.norm(vector))
    return vector * (1 - 2 * np.pi / angle) if angle > np.pi else vector


def displacement(action: ArmAction, tool: Pose | None = None) -> Array:
    """Return the displacement ``(6,)`` that ``action`` asks for.

    ``tool`` is where the tool is, in the frame of the action: an absolute action is a displacement from there.
    """
    rotation = rotation_vector(action.rotation, action.rotation_format)
    if not action.absolute:
        return np.concatenate([action.translation, rotation])
    if tool is None:
        raise ValueError("an absolute action needs the pose of the tool")
    return difference(tool, Pose(action.frame, action.translation, axis_angle_to_quaternion(rotation)))


def limit_speed(motion: Array, seconds: float, linear: float, angular: float) -> tuple[Array, bool]:
    """Shorten a displacement so that ``seconds`` suffice at the speeds given (m/s, rad/s; inf = any).

    Directions are kept. Returns the displacement and whether it was changed. Raises CommandError where the
    velocity is no finite number all the same.
    """
    limited, changed = _shorten(motion, Limits(linear * seconds, angular * seconds))
    with np.errstate(over="ignore"):
        finite = np.isfinite(limited / seconds).all()
    if not finite:
        raise CommandError("not finite", f"{motion.tolist()} in {seconds:g} s is no finite velocity")
    return limited, changed


def unitless(velocity: Array, linear_scale: float, angular_scale: float) -> tuple[Array, bool]:
    """Return a velocity ``(6,)`` as a joystick would give it: 1 is the scale, in m/s and rad/s.

    Linear and angular part are each shortened until no component exceeds 1, with their direction kept. Returns
    the numbers and whether that was needed.
    """
    scaled = np.concatenate([velocity[:3] / linear_scale, velocity[3:] / angular_scale])
    largest = np.abs(scaled).reshape(2, 3).max(axis=1)
    return scaled / np.repeat(np.maximum(largest, 1.0), 3), bool((largest > 1.0).any())


def moved(pose: Pose, motion: Array) -> Pose:
    """Return ``pose`` after a displacement in the same frame; the tool turns about itself, not about the origin.

    Raises CommandError for a displacement so large that nothing finite comes out.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        position = pose.position + motion[:3]
        quaternion = multiply(axis_angle_to_quaternion(motion[3:]), pose.quaternion)
    if not (np.isfinite(position).all() and np.isfinite(quaternion).all()):
        raise CommandError("not finite", f"a displacement of {motion.tolist()} leads to no finite pose")
    return Pose(pose.frame, position, quaternion)


def difference(start: Pose, end: Pose) -> Array:
    """Return the displacement that takes ``start`` to ``end``, by the shorter way round."""
    turn = multiply(end.quaternion, conjugate(start.quaternion))
    return np.concatenate([end.position - start.position, quaternion_to_axis_angle(turn)])


def keep_near(pose: Pose, reference: Pose, translation: float, rotation: float) -> tuple[Pose, bool]:
    """Return ``pose``, drawn towards ``reference`` until it is at most so many metres and radians away."""
    offset, changed = _shorten(difference(reference, pose), Limits(translation, rotation))
    return (moved(reference, offset), True) if changed else (pose, False)


def finger_positions(opening: float, closed: Sequence[float], opened: Sequence[float]) -> tuple[float, ...]:
    """Return where each finger joint is at an opening from 0, ``closed``, to 1, ``opened``, and never beyond."""
    share = min(max(float(opening), 0.0), 1.0)
    return tuple((1 - share) * low + share * high for low, high in zip(closed, opened, strict=True))


def _shorten(motion: Array, limits: Limits) -> tuple[Array, bool]:
    limited, saturated = limit_actions(np.append(motion, 0.0)[None], limits)
    return limited[0, :6], bool(saturated[0])
