"""Which actions become commands, and when an arm is stopped: the last stop before a controller, without ROS.

``offer`` takes an action, ``tick`` lets time go on; both return what to send now. A node calls ``tick`` at
``due_ns`` and from time to time besides. Times are nanoseconds of the ROS clock. Not thread-safe.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.policy.arm_command import (
    ArmAction,
    CommandError,
    Pose,
    check_action,
    displacement,
    limit_speed,
)
from robovlms_ros.policy.arm_outputs import (
    GripperOutput,
    GripperSettings,
    PoseOutput,
    PoseSettings,
    TwistOutput,
    TwistSettings,
)

# Stamps of a clock that is read in two places may appear to go back by less than this.
CLOCK_JUMP_NS = 100_000_000


# No policy looks further ahead.
LONGEST_CHUNK_NS = 10_000_000_000


@dataclass(frozen=True)
class BridgeSettings:
    """Everything that a user chooses; replaced as a whole. ``outputs``: any of "twist", "pose", "gripper".

    ``linear`` and ``angular`` bound the speed of every command, in m/s and rad/s. ``timeout_ns`` is the time
    without an action after which the arm is stopped, whatever the last action said. ``lock_step``: see
    `in_lock_step`.
    """

    outputs: frozenset[str] = frozenset({"twist"})
    twist: TwistSettings = field(default_factory=TwistSettings)
    pose: PoseSettings = field(default_factory=PoseSettings)
    gripper: GripperSettings = field(default_factory=GripperSettings)
    max_age_ns: int = 1_000_000_000
    future_tolerance_ns: int = 200_000_000
    timeout_ns: int = 1_000_000_000
    linear: float = math.inf
    angular: float = math.inf
    lock_step: bool = False


def in_lock_step(settings: BridgeSettings) -> BridgeSettings:
    """Settings for a simulator that waits for each action: one command for each, which says what it answers.

    Commands bear the stamp of the action's image. The gripper is told every time, a target is the end of its way,
    and nothing is repeated or ended by time, which stands still while the simulator waits.
    """
    return replace(settings, lock_step=True, pose=replace(settings.pose, period_ns=0))


@dataclass(frozen=True)
class Commands:
    """What to send now; None = nothing. ``frame`` is that of ``twist``, ``(6,)``, linear before angular.

    ``stamp_ns`` None: to be stamped with the time of sending.
    """

    frame: str = ""
    twist: NDArray[np.float64] | None = None
    pose: Pose | None = None
    gripper: tuple[float, ...] | None = None
    stamp_ns: int | None = None


class ArmBridge:
    """Decides, action by action and between them, what an arm is told."""

    def __init__(self, settings: BridgeSettings) -> None:
        self.counts: Counter[str] = Counter()
        """What was refused, lost or limited, by reason."""
        self.received = self.executed = 0
        self.newest: ArmAction | None = None
        """The action that arrived last, of those that were in order."""
        self.refusal: CommandError | None = None
        """Why the last action was refused; None where it was executed."""
        self.executed_ns: int | None = None
        """When the last action was executed."""
        self.age_ns = 0
        """How old its image was then."""
        self.silent = False
        """Whether motion ended because no action came in time."""
        self._frame = ""
        self._now_ns = 0
        self._acted_ns: int | None = None
        self._held: ArmAction | None = None
        self.settings = settings
        self.twist = TwistOutput(settings.twist, self.counts)
        self.pose = PoseOutput(settings.pose, self.counts)
        self.gripper = GripperOutput(settings.gripper)

    @property
    def moving(self) -> bool:
        """Whether the arm was told to move and not yet to stop."""
        return self.twist.moving or self.pose.moving

    @property
    def supervised(self) -> bool:
        """Whether the last action asked for motion, so that another must follow in time."""
        return self._acted_ns is not None

    @property
    def due_ns(self) -> int | None:
        """When the next ``tick`` has something to do; None while nothing happens by itself."""
        if self.settings.lock_step:
            return None
        times = [self.twist.due_ns, self.pose.due_ns]
        if self._acted_ns is not None:
            times.append(self._acted_ns + self.settings.timeout_ns)
        return min((time for time in times if time is not None), default=None)

    def apply(self, settings: BridgeSettings) -> None:
        """Take other settings, for what comes next."""
        self.settings = settings
        self.twist.settings, self.pose.settings = settings.twist, settings.pose
        self.gripper.settings = settings.gripper

    def offer(self, action: ArmAction, now_ns: int) -> Commands:
        """Execute an action from now on, or refuse it (``refusal``, ``counts``) and change nothing."""
        stopped = self._observe_clock(now_ns)
        if self._awaits_tool(action):
            self._held = action
            return stopped
        try:
            motion = self._admit(action, now_ns)
        except CommandError as error:
            self.refuse(error)
            return stopped
        self.received, self.executed, self.refusal, self.silent = self.received + 1, self.executed + 1, None, False
        self.executed_ns, self.age_ns = now_ns, now_ns - action.stamp_ns
        # A stop needs no supervision; only motion must be followed by something.
        self._acted_ns = now_ns if motion.any() else None
        self._frame = action.frame
        outputs = self.settings.outputs
        if self.settings.lock_step:
            self.gripper.reset()
        return Commands(
            frame=action.frame,
            twist=self.twist.start(motion, action.step_ns, now_ns) if "twist" in outputs else None,
            pose=self._start_pose(action, motion, now_ns) if "pose" in outputs else None,
            gripper=self.gripper.start(action.opening, now_ns) if "gripper" in outputs else None,
            stamp_ns=action.stamp_ns if self.settings.lock_step else None,
        )

    def offer_tool(self, pose: Pose, stamp_ns: int, now_ns: int) -> Commands:
        """Take the measured pose of the tool; in lock step an action may have waited for it."""
        self.pose.offer(pose, stamp_ns)
        held, self._held = self._held, None
        return Commands() if held is None else self.offer(held, now_ns)

    def refuse(self, error: CommandError) -> None:
        """Count an action that is not executed; a node calls it for one that cannot even be read."""
        self.received += 1
        self.counts[error.kind] += 1
        self.refusal = error

    def tick(self, now_ns: int) -> Commands:
        """Return what is due now: repetitions, targets on the way, and the stop at the end of an action."""
        stopped = self._observe_clock(now_ns)
        if stopped.twist is not None or self.settings.lock_step:
            return stopped
        if self._acted_ns is not None and now_ns - self._acted_ns >= self.settings.timeout_ns:
            if self.moving:
                self.counts["watchdog stop"] += 1
            self.silent = True
            return self.stop()
        return Commands(self._frame, self.twist.tick(now_ns), self.pose.tick(now_ns))

    def stop(self) -> Commands:
        """End all motion: one zero velocity if the arm was moving, and the target stays where it is."""
        self._acted_ns = None
        self.pose.stop()
        return Commands(self._frame, self.twist.stop())

    def _awaits_tool(self, action: ArmAction) -> bool:
        """Whether the target of ``action`` must start from a pose that has not arrived: in lock step it will."""
        settings, tool_ns = self.settings, self.pose.tool_ns
        return settings.lock_step and "pose" in settings.outputs and (tool_ns is None or tool_ns < action.stamp_ns)

    def _admit(self, action: ArmAction, now_ns: int) -> NDArray[np.float64]:
        """Return the displacement to execute. Raises CommandError for an action that must not be."""
        if now_ns <= 0:
            raise CommandError("no clock", "there is no time yet: waiting for /clock")
        age_ns = now_ns - action.stamp_ns
        if -age_ns > self.settings.future_tolerance_ns:
            raise CommandError("future stamp", f"its stamp is {-age_ns * 1e-9:.3f} s ahead of the clock")
        # Whatever becomes of it, it has arrived: what is refused below is not lost.
        self._follow(action)
        check_action(action)
        # A later action of a chunk is meant for a later time; a message cannot claim any time it likes.
        late_ns = age_ns - min(action.step_index * action.step_ns, LONGEST_CHUNK_NS)
        if late_ns > self.settings.max_age_ns:
            raise CommandError(
                "stale action",
                f"it answers an image that is {age_ns * 1e-9:.3f} s old and is {late_ns * 1e-9:.3f} s late",
            )
        if not action.frame:
            raise CommandError("no frame", "its header names no frame")
        tool = self._tool_for(action, now_ns) if action.absolute else None
        seconds = action.step_ns * 1e-9
        motion, limited = limit_speed(
            displacement(action, tool), seconds, self.settings.linear, self.settings.angular
        )
        if limited:
            self.counts["speed limited"] += 1
        return motion

    def _follow(self, action: ArmAction) -> None:
        """Note the place of an action in its episode. Raises CommandError for one that is overtaken."""
        newest = self.newest
        if newest is not None and newest.episode == action.episode:
            if action.sequence > newest.sequence:
                lost = action.sequence - newest.sequence - 1
                if lost:
                    self.counts["actions lost"] += lost
            elif action.stamp_ns <= newest.stamp_ns:
                raise CommandError(
                    "out of order", f"its sequence number {action.sequence} follows {newest.sequence}"
                )
            else:
                # A newer image under a number that is not new: the node that counts has started again.
                self._new_episode()
        elif newest is not None:
            self._new_episode()
        self.newest = action

    def _new_episode(self) -> None:
        self.pose.reset()
        self.gripper.reset()

    def _tool_for(self, action: ArmAction, now_ns: int) -> Pose:
        """Return where the tool is, and let the target start from there: an absolute action is not added to it."""
        try:
            tool = self.pose.tool(action.frame, now_ns)
        except CommandError as error:
            raise CommandError("absolute action", f"an absolute action needs the tool's pose: {error}") from error
        self.pose.stop()
        return tool

    def _start_pose(self, action: ArmAction, motion: NDArray[np.float64], now_ns: int) -> Pose | None:
        try:
            return self.pose.start(action.frame, motion, action.step_ns, now_ns)
        except CommandError as error:
            # The other outputs go on: each is a way of its own to the arm.
            self.counts[f"no target: {error.kind}"] += 1
            return None

    def _observe_clock(self, now_ns: int) -> Commands:
        """Note the time; where it jumped back (a bag that loops), end all motion and forget the past."""
        jumped = now_ns < self._now_ns - CLOCK_JUMP_NS
        self._now_ns = now_ns if jumped else max(self._now_ns, now_ns)
        if not jumped:
            return Commands()
        self.counts["clock jump"] += 1
        stopped = self.stop()
        self.newest = self.executed_ns = self._held = None
        self._new_episode()
        self.pose.forget_tool()
        return stopped
