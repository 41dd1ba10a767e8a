"""When a task is done."""

from __future__ import annotations

import numpy as np

from robovlms_ros.sim.scene import BLOCK_HALF, STEP_DURATION
from robovlms_ros.sim.tasks import Task
from robovlms_ros.sim.world import World

# "pick": the centre of the block is higher than this above the table, in metres.
LIFTED_HEIGHT = 0.12
# "stack": how far the centres may be apart sideways and how far from one edge length in height, in metres.
STACKED_SIDEWAYS = 0.02
STACKED_HEIGHT = 0.005
# The block counts as at rest below this speed (m/s), and as stable after resting for so long (s).
RESTING_SPEED = 0.02
STABLE_SECONDS = 0.24


def lifted(world: World, colour: str) -> bool:
    """Whether a block is higher than `LIFTED_HEIGHT`."""
    return bool(world.block_position(colour)[2] > LIFTED_HEIGHT)


def stacked(world: World, colour: str, base: str) -> bool:
    """Whether a block lies on another one that lies on the table, let go of and at rest."""
    above = world.block_position(colour) - world.block_position(base)
    return bool(
        np.linalg.norm(above[:2]) < STACKED_SIDEWAYS
        and abs(above[2] - 2 * BLOCK_HALF) < STACKED_HEIGHT
        and abs(world.block_position(base)[2] - BLOCK_HALF) < STACKED_HEIGHT
        and world.fingers_on(colour) == world.fingers_on(base) == 0
        and max(world.block_speed(colour), world.block_speed(base)) < RESTING_SPEED
    )


class SuccessCondition:
    """Watches one episode: call `update` after every control step. Once reached, success stays."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.succeeded = False
        self._stable_steps = 0

    def update(self, world: World) -> bool:
        """Whether the task is done by now."""
        if self.task.base is None:
            done = lifted(world, self.task.target)
        else:
            resting = stacked(world, self.task.target, self.task.base)
            self._stable_steps = self._stable_steps + 1 if resting else 0
            done = self._stable_steps * STEP_DURATION >= STABLE_SECONDS
        self.succeeded = self.succeeded or done
        return self.succeeded
