"""The simulated arm: what a relative action does to the tool, within the limits of config/robots/tabletop.yaml."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.data.rotations import matrix_to_rpy, rpy_to_matrix
from robovlms_ros.policy.safety import ACTION_DIM, GRIPPER, ROTATION, TRANSLATION, Limits, limit_actions
from robovlms_ros.sim.engine import mujoco
from robovlms_ros.sim.scene import FINGER_TRAVEL, SUBSTEPS

Array = NDArray[np.float64]

# The largest step, as norms, and the box of the tool: the robot profile says the same (a test compares them).
LIMITS = Limits(translation=0.03, rotation=0.15)
WORKSPACE = np.array([[-0.2, -0.24, 0.018], [0.2, 0.24, 0.28]])
# Largest roll, pitch and yaw of the tool, in radians: what a wrist can do without hitting the table.
ORIENTATION = np.array([0.35, 0.35, 1.6])
# The gripper's opening changes by no more than this in a step. It also bounds the force on what is held.
OPENING_STEP = 0.3
# The tool is led to its goal in so many of the substeps; in the others it catches up.
MOVING_SUBSTEPS = 8
# Limiting twice must give what limiting once gave, bit for bit: nodes limit actions before they send them.
_ROUNDING = 1e-12


def limit_action(action: Array, limits: Limits = LIMITS) -> Array:
    """``(7,)`` action in SI units -> the same within ``limits``, direction kept.

    Raises ValueError where it is not 7 finite numbers.
    """
    action = np.asarray(action, np.float64)
    if action.shape != (ACTION_DIM,) or not np.isfinite(action).all():
        raise ValueError(f"an action is {ACTION_DIM} finite numbers, got {action}")
    limited: Array = limit_actions(action[None], limits)[0][0]
    for part, limit in ((TRANSLATION, limits.translation), (ROTATION, limits.rotation)):
        if np.linalg.norm(action[part]) <= limit * (1 + _ROUNDING):
            limited[part] = action[part]
    return limited


class Arm:
    """The tool on its mocap body. Its pose and the gripper's opening are commanded; physics does the rest."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        self._model, self._data = model, data
        self._tool = model.body("tool").id
        start = model.joint("tool").qposadr[0]
        self._tool_pose = slice(start, start + 7)
        fingers = [model.joint(f"{side}_finger") for side in ("left", "right")]
        self._fingers = [int(finger.qposadr[0]) for finger in fingers]
        self._position, self._rpy = np.zeros(3), np.zeros(3)

    def reset(self, position: Array, yaw: float) -> None:
        """Put the tool somewhere, upright and open, without moving it there."""
        self._position, self._rpy = np.array(position, np.float64), np.array([0.0, 0.0, yaw])
        quaternion = _quaternion(self._rpy)
        self._data.qpos[self._tool_pose] = np.concatenate([self._position, quaternion])
        self._data.mocap_pos[0], self._data.mocap_quat[0] = self._position, quaternion
        self._data.qpos[self._fingers] = FINGER_TRAVEL
        self._data.ctrl[:] = FINGER_TRAVEL

    def step(self, action: Array) -> None:
        """One control step, `STEP_DURATION` seconds, in which the tool moves by ``action``, ``(7,)``, SI units."""
        action = limit_action(action)
        target = np.clip(self._position + action[TRANSLATION], *WORKSPACE)
        turned = matrix_to_rpy(rpy_to_matrix(action[ROTATION]) @ rpy_to_matrix(self._rpy))
        self._rpy = np.clip(turned, -ORIENTATION, ORIENTATION)
        before, after = self._data.mocap_quat[0].copy(), _quaternion(self._rpy)
        if before @ after < 0:
            after = -after
        reachable = self.opening + np.array([-1, 1]) * OPENING_STEP
        self._data.ctrl[:] = np.clip(action[GRIPPER], *reachable) * FINGER_TRAVEL
        share = np.minimum(np.arange(1, SUBSTEPS + 1) / MOVING_SUBSTEPS, 1)[:, None]
        positions = (1 - share) * self._position + share * target
        quaternions = (1 - share) * before + share * after
        quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
        mocap_position, mocap_quaternion = self._data.mocap_pos[0], self._data.mocap_quat[0]
        for position, quaternion in zip(positions, quaternions, strict=True):
            mocap_position[:], mocap_quaternion[:] = position, quaternion
            mujoco.mj_step(self._model, self._data)
        self._position = target

    @property
    def goal(self) -> tuple[Array, Array]:
        """Where the tool was sent, to which the next action adds: position ``(3,)``, roll pitch yaw ``(3,)``."""
        return self._position.copy(), self._rpy.copy()

    @property
    def quaternion(self) -> Array:
        """How the tool is turned, ``(4,)``, x y z w as in ROS messages."""
        return np.roll(self._data.xquat[self._tool], -1)

    @property
    def finger(self) -> float:
        """How far one finger is from the middle, in metres: 0 to `FINGER_TRAVEL`, and a little beyond."""
        return float(self._data.qpos[self._fingers].mean())

    @property
    def position(self) -> Array:
        """Where the tool is, ``(3,)`` metres."""
        return np.array(self._data.xpos[self._tool])

    @property
    def rotation(self) -> Array:
        """How the tool is turned, ``(3, 3)``."""
        return np.array(self._data.xmat[self._tool]).reshape(3, 3)

    @property
    def opening(self) -> float:
        """How far the gripper is open, 0 to 1."""
        return float(np.clip(self.finger / FINGER_TRAVEL, 0, 1))


def _quaternion(rpy: Array) -> Array:
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, rpy_to_matrix(rpy).ravel())
    return quaternion
