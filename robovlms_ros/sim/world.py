"""The physical world of the tabletop: a seeded scene, the arm in it, and where everything is. Draws nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.data.rotations import matrix_to_rpy
from robovlms_ros.sim.engine import mujoco
from robovlms_ros.sim.motion import Arm
from robovlms_ros.sim.scene import BLOCK_HALF, COLOURS, build_model

Array = NDArray[np.float64]

# Where blocks start: a box of this half size, at least this far apart, turned by at most this angle.
BLOCK_AREA = np.array([0.13, 0.16])
BLOCK_DISTANCE = 0.09
BLOCK_YAW = 0.6
# Where the tool starts.
TOOL_START = np.array([0.0, 0.0, 0.17])
TOOL_START_SPREAD = np.array([0.04, 0.06, 0.02])
TOOL_START_YAW = 0.2
_SETTLING_STEPS = 10


class World:
    """Physics only. The same seed and the same actions give the same bits, whatever was simulated before."""

    def __init__(self) -> None:
        self.model = build_model()
        self.data = mujoco.MjData(self.model)
        self.arm = Arm(self.model, self.data)
        self._blocks = {colour: self.model.body(colour).id for colour in COLOURS}
        self._block_of_geom = {int(self.model.geom(colour).id): colour for colour in COLOURS}
        self._fingers = [int(self.model.geom(f"{side}_finger").id) for side in ("left", "right")]

    def reset(self, seed: int) -> None:
        """The scene that ``seed`` stands for: blocks at rest on the table, the tool above them, open."""
        random = np.random.default_rng([seed, 0])
        mujoco.mj_resetData(self.model, self.data)
        for colour, (x, y), yaw in zip(
            COLOURS,
            _apart(random, len(COLOURS)),
            random.uniform(-BLOCK_YAW, BLOCK_YAW, len(COLOURS)),
            strict=True,
        ):
            self.place(colour, np.array([x, y, BLOCK_HALF]), yaw)
        start = TOOL_START + random.uniform(-TOOL_START_SPREAD, TOOL_START_SPREAD)
        self.arm.reset(start, float(random.uniform(-TOOL_START_YAW, TOOL_START_YAW)))
        for _ in range(_SETTLING_STEPS):
            mujoco.mj_step(self.model, self.data)

    def place(self, colour: str, position: Array, yaw: float = 0.0) -> None:
        """Put a block somewhere, at rest."""
        joint = self.model.joint(colour)
        pose, speed = int(joint.qposadr[0]), int(joint.dofadr[0])
        turned = [np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
        self.data.qpos[pose : pose + 7] = np.concatenate([position, turned])
        self.data.qvel[speed : speed + 6] = 0.0
        mujoco.mj_forward(self.model, self.data)

    def step(self, action: Array) -> None:
        """One control step with an ``(7,)`` action in SI units; see `Arm.step`."""
        self.arm.step(action)

    def state(self) -> Array:
        """What a robot knows of itself: x y z (m), roll pitch yaw (rad) of the tool, gripper opening, ``(7,)``."""
        return np.concatenate([self.arm.position, matrix_to_rpy(self.arm.rotation), [self.arm.opening]])

    def physics(self) -> Array:
        """Everything that the future depends on, as one vector."""
        kind = mujoco.mjtState.mjSTATE_INTEGRATION.value
        values = np.zeros(mujoco.mj_stateSize(self.model, kind))
        mujoco.mj_getState(self.model, self.data, values, kind)
        return values

    def block_position(self, colour: str) -> Array:
        """Centre of a block, ``(3,)`` metres."""
        return np.array(self.data.xpos[self._blocks[colour]])

    def block_rotation(self, colour: str) -> Array:
        """How a block is turned, ``(3, 3)``."""
        return np.array(self.data.xmat[self._blocks[colour]]).reshape(3, 3)

    def block_yaw_from_tool(self, colour: str) -> float:
        """Angle from the tool's x axis to the nearest side of a block, about the tool's z axis: [-pi/4, pi/4)."""
        relative = self.arm.rotation.T @ self.block_rotation(colour)
        # Of the block's axes the one that lies flattest shows its yaw, whichever face it lies on.
        flattest = int(np.argmin(np.abs(relative[2])))
        yaw = np.arctan2(relative[1, flattest], relative[0, flattest])
        return float((yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4)

    def block_from_tool(self, colour: str) -> Array:
        """A block in the tool's frame, ``(5,)``: x y z in metres, sine and cosine of four times its yaw."""
        position = self.arm.rotation.T @ (self.block_position(colour) - self.arm.position)
        yaw = 4 * self.block_yaw_from_tool(colour)
        return np.array([*position, np.sin(yaw), np.cos(yaw)])

    def block_speed(self, colour: str) -> float:
        """How fast the centre of a block moves, in m/s."""
        start = int(self.model.joint(colour).dofadr[0])
        return float(np.linalg.norm(self.data.qvel[start : start + 3]))

    def fingers_on(self, colour: str) -> int:
        """How many of the two fingers touch a block."""
        touching = set()
        for pair in self.data.contact.geom.tolist():
            for finger, other in (pair, reversed(pair)):
                if finger in self._fingers and self._block_of_geom.get(other) == colour:
                    touching.add(finger)
        return len(touching)

    def grasped(self, colour: str) -> bool:
        """Whether the gripper holds a block between both fingers."""
        return self.fingers_on(colour) == 2


def _apart(random: np.random.Generator, count: int) -> list[Array]:
    """``count`` points in `BLOCK_AREA`, any two at least `BLOCK_DISTANCE` apart."""
    points: list[Array] = []
    while len(points) < count:
        point = random.uniform(-BLOCK_AREA, BLOCK_AREA)
        if all(np.linalg.norm(point - other) >= BLOCK_DISTANCE for other in points):
            points.append(point)
    return points
