"""What arrives for the simulated arm, and what of it is executed: in lock step and in real time. Free of ROS.

Both inputs refuse what no arm should follow, with a `CommandError` whose kind is counted. Times are nanoseconds.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.data.quaternions import axis_angle_to_quaternion, multiply, quaternion_to_axis_angle
from robovlms_ros.policy.arm_command import CommandError, Pose
from robovlms_ros.sim.robot import ArmCommand
from robovlms_ros.sim.scene import FRAME, STEP_DURATION

Array = NDArray[np.float64]

# Everything that is counted, so that a count is there before it first happens.
REFUSALS = (
    "not finite",
    "wrong frame",
    "stale command",
    "wrong joint",
    "answers another image",
    "nothing awaited",
    "invalid target",
)


def check_frame(frame: str) -> None:
    """Raise CommandError for a command that is not in the frame of the tabletop."""
    if frame.removeprefix("/") != FRAME:
        raise CommandError("wrong frame", f"it is in the frame {frame!r}, the arm is commanded in {FRAME!r}")


def check_velocity(velocity: Array) -> None:
    """Raise CommandError for a velocity that is not finite."""
    if not np.isfinite(velocity).all():
        raise CommandError("not finite", f"its velocity is {velocity.tolist()}")


def check_finger(position: float) -> None:
    """Raise CommandError for a position that is not finite."""
    if not np.isfinite(position):
        raise CommandError("not finite", f"its finger position is {position}")


class LockStepInput:
    """Puts the command together that answers one image, out of a motion and a finger position with its stamp."""

    def __init__(self) -> None:
        self._awaited_ns: int | None = None
        self._motion: ArmCommand | None = None
        self._finger: float | None = None

    @property
    def awaited_ns(self) -> int | None:
        """Stamp of the image that is to be answered; None where nothing is awaited."""
        return self._awaited_ns

    def expect(self, stamp_ns: int | None) -> None:
        """Wait for the answer to the image of ``stamp_ns`` from now on, or for none."""
        self._awaited_ns, self._motion, self._finger = stamp_ns, None, None

    def offer_motion(self, stamp_ns: int, motion: ArmCommand) -> ArmCommand | None:
        """Take a motion; return the whole command once it is there. Raises CommandError for another image's."""
        self._check(stamp_ns)
        self._motion = motion
        return self._whole()

    def offer_finger(self, stamp_ns: int, position: float) -> ArmCommand | None:
        """Take a finger position; return the whole command once it is there. See `offer_motion`."""
        self._check(stamp_ns)
        self._finger = position
        return self._whole()

    def _check(self, stamp_ns: int) -> None:
        if self._awaited_ns is None:
            raise CommandError("nothing awaited", "no image waits for a command")
        if stamp_ns != self._awaited_ns:
            raise CommandError(
                "answers another image",
                f"its stamp is {stamp_ns} ns, that of the newest image {self._awaited_ns}: set lock_step of "
                "arm_bridge_node, or mode real_time of sim_node",
            )

    def _whole(self) -> ArmCommand | None:
        if self._motion is None or self._finger is None:
            return None
        command = replace(self._motion, finger=self._finger)
        self.expect(None)
        return command


class RealTimeInput:
    """Keeps what the arm was told, and sums up for each step what that moved it by.

    A velocity lasts until the next command, at most ``timeout_ns``; then the arm stands, as an arm's controller
    makes it. Over time what was moved is what was told, however commands and steps interleave.
    """

    def __init__(self, timeout_ns: int = 200_000_000) -> None:
        self._timeout_ns = timeout_ns
        self.clear(0)

    def clear(self, now_ns: int) -> None:
        """Stand still from now on, and forget everything."""
        self._velocity, self._ends_ns = np.zeros(6), now_ns
        self._target: Pose | None = None
        self._finger: float | None = None
        self._begin(now_ns)

    def offer_motion(self, motion: ArmCommand, now_ns: int) -> None:
        """Take a velocity or a target; it replaces the one before."""
        self._advance(now_ns)
        self._velocity = np.zeros(6) if motion.velocity is None else motion.velocity
        self._ends_ns = now_ns + self._timeout_ns
        self._target = motion.target
        self._told = True

    def offer_finger(self, position: float) -> None:
        """Take a finger position."""
        self._finger = position

    def take(self, now_ns: int) -> tuple[ArmCommand, bool]:
        """What the arm does in the step that ends now, and whether it was told anything new."""
        self._advance(now_ns)
        told, passed = self._told, max(now_ns - self._begun_ns, 1)
        if self._target is not None:
            command = ArmCommand(target=self._target, finger=self._finger)
        else:
            # As if the step had taken just its time: a timer that is late must not make the arm faster.
            share = STEP_DURATION / (passed * 1e-9)
            motion = np.concatenate([self._shift, quaternion_to_axis_angle(self._turn)]) * share
            command = ArmCommand(velocity=motion / STEP_DURATION, finger=self._finger)
        self._begin(now_ns)
        return command, told

    def _begin(self, now_ns: int) -> None:
        self._begun_ns = self._reached_ns = now_ns
        self._shift, self._turn, self._told = np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]), False

    def _advance(self, now_ns: int) -> None:
        """Let the velocity act until now."""
        seconds = max(0, min(now_ns, self._ends_ns) - self._reached_ns) * 1e-9
        self._shift = self._shift + self._velocity[:3] * seconds
        self._turn = multiply(axis_angle_to_quaternion(self._velocity[3:] * seconds), self._turn)
        self._reached_ns = max(now_ns, self._reached_ns)
