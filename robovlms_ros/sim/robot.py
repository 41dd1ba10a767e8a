"""The tabletop as a robot is: it shows where it is and takes the commands of an arm controller, step by step.

Free of ROS. `robovlms_ros.nodes.sim_node` puts topics around it, `robovlms_ros.sim.closed_loop` runs a policy on
it in one process, and both go through the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.data.rotations import axis_angle_to_rpy, matrix_to_rpy, quaternion_to_matrix, rpy_to_matrix
from robovlms_ros.policy.arm_command import Pose
from robovlms_ros.policy.safety import ACTION_DIM, GRIPPER, ROTATION, TRANSLATION
from robovlms_ros.sim.environment import TabletopEnvironment
from robovlms_ros.sim.scene import FINGER_TRAVEL, FRAME, STEP_DURATION
from robovlms_ros.sim.tasks import Task

Array = NDArray[np.float64]

STEP_NS = round(STEP_DURATION * 1e9)
# The joint of the gripper, 0 where it is closed and `FINGER_TRAVEL` where it is open.
FINGER_JOINT = "finger_joint"


@dataclass(frozen=True)
class ArmCommand:
    """What the arm is told for one step: a ``velocity`` ``(6,)`` in m/s and rad/s, a ``target``, or to stay.

    ``finger`` is the position of the gripper's joint in metres, None = as before.
    """

    velocity: Array | None = None
    target: Pose | None = None
    finger: float | None = None


@dataclass(frozen=True)
class RobotView:
    """What a robot's drivers publish at one moment, ``stamp_ns``.

    ``pose`` of the tool and ``finger`` as they are measured, ``images`` per camera ``(S, S, 3)`` RGB.
    """

    stamp_ns: int
    pose: Pose
    finger: float
    images: Mapping[str, NDArray[np.uint8] | None]


class TabletopRobot:
    """Runs one episode after another on an environment. Time goes on by one step at each call.

    Not thread-safe, and to be used in the thread that made the environment.
    """

    def __init__(self, environment: TabletopEnvironment, start_ns: int = STEP_NS) -> None:
        self.environment = environment
        self.executed: list[Array] = []
        """The ``(7,)`` actions of this episode, as the environment was told them."""
        self._now_ns = start_ns
        self._finger = FINGER_TRAVEL

    @property
    def now_ns(self) -> int:
        """Simulated time; it never goes back."""
        return self._now_ns

    @property
    def finished(self) -> bool:
        """Whether the episode is over."""
        return self.environment.finished

    def reset(self, seed: int, task: Task | None = None, instruction: str | None = None) -> RobotView:
        """Begin the episode of ``seed``; see `TabletopEnvironment.reset`."""
        self._now_ns += STEP_NS
        self._finger = FINGER_TRAVEL
        self.executed = []
        return self._view(self.environment.reset(seed, task, instruction).images)

    def step(self, command: ArmCommand) -> RobotView:
        """Do what the arm is told, for one step. Raises ValueError for numbers that are not finite."""
        action = self.action(command)
        images = self.environment.step(action).images
        self.executed.append(action)
        self._finger = self._finger if command.finger is None else command.finger
        self._now_ns += STEP_NS
        return self._view(images)

    def wait(self) -> RobotView:
        """Let the time of one step pass in which nothing happens: between two episodes."""
        self._now_ns += STEP_NS
        return self._view(self.environment.observe().images)

    def action(self, command: ArmCommand) -> Array:
        """The relative action ``(7,)`` that a command is, from where the tool was sent."""
        action = np.zeros(ACTION_DIM)
        if command.velocity is not None:
            action[TRANSLATION] = command.velocity[:3] * STEP_DURATION
            action[ROTATION] = axis_angle_to_rpy(command.velocity[3:] * STEP_DURATION)
        elif command.target is not None:
            position, rpy = self.environment.world.arm.goal
            turn = quaternion_to_matrix(command.target.quaternion) @ rpy_to_matrix(rpy).T
            action[TRANSLATION] = command.target.position - position
            action[ROTATION] = matrix_to_rpy(turn)
        finger = self._finger if command.finger is None else command.finger
        action[GRIPPER] = min(max(finger / FINGER_TRAVEL, 0.0), 1.0)
        return action

    def _view(self, images: Mapping[str, NDArray[np.uint8] | None]) -> RobotView:
        arm = self.environment.world.arm
        return RobotView(self._now_ns, Pose(FRAME, arm.position, arm.quaternion), arm.finger, images)
