"""A scripted expert: what to do next, from where everything is. It has no memory, so it can label any state.

All heights, errors and shifts are in metres and all angles in radians.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.data.rotations import matrix_to_rpy, rpy_to_matrix
from robovlms_ros.policy.safety import ACTION_DIM, GRIPPER, ROTATION, TRANSLATION, Limits
from robovlms_ros.sim.motion import LIMITS, limit_action
from robovlms_ros.sim.scene import BLOCK_HALF
from robovlms_ros.sim.tasks import Task
from robovlms_ros.sim.world import World

Array = NDArray[np.float64]

OPEN, CLOSED = 1.0, 0.0
# A little slower than the arm can: a policy then need not learn the very ends of its range.
EXPERT_LIMITS = Limits(translation=0.95 * LIMITS.translation, rotation=0.95 * LIMITS.rotation)
# Tool above a block's centre while it is not yet over it, and when it closes on it.
HOVER = 0.07
GRASP = 0.002
# How fast it comes down to the block: so far above its height for each metre that it is off by more than this.
# Closer than that open fingers pass the block's sides, so it can go sideways at any height.
FUNNEL_SLOPE = 3.0
BESIDE_SIDEWAYS = 0.014
# Over the block, for closing: distance sideways.
CLOSE_SIDEWAYS = 0.012
CLOSE_HEIGHT = 0.010
CLOSING_SLACK = 2.0
# Closed to less than this the fingers are on a block, if only on its corners: it is lifted, the faster the further
# they are closed.
HELD_OPENING = 0.72
HELD_RANGE = 0.15
# A block that is carried keeps at most this much above the one below, and the less the nearer it is to being over
# it.
CLEARANCE = 0.035
CARRY_SLOPE = 0.6
RELEASE_SIDEWAYS = 0.014
RELEASE_HEIGHT = 0.010
# A block that is as near to its place as this has been put there.
PLACED_SIDEWAYS = 0.017
PLACED_HEIGHT = 0.003
# The fingers have let go of a block when the gripper is as open as this: on its corners they are at up to 0.7.
LET_GO = 0.85


def expert_action(world: World, task: Task) -> Array:
    """The ``(7,)`` action in SI units that brings ``world`` nearer to the end of ``task``."""
    if task.base is not None and _rests_on(world, task.target, task.base):
        return _let_go(world)
    if world.grasped(task.target):
        return _lift(world) if task.base is None else _carry(world, task.target, task.base)
    return _reach(world, task.target)


@dataclass(frozen=True)
class Noise:
    """Disturbs what is executed, never what is learned (DART): recordings then show how to recover.

    ``share`` of the steps get a normally distributed push, of ``scale`` times the limits of an action per axis.
    """

    share: float = 0.35
    scale: float = 0.3

    def disturb(self, action: Array, random: np.random.Generator) -> Array:
        """``action`` as executed. Always draws the same number of random numbers."""
        disturbed, push = random.random() < self.share, random.normal(size=6) * self.scale
        if not disturbed:
            return action
        executed = action.copy()
        executed[TRANSLATION] += push[:3] * LIMITS.translation
        executed[ROTATION] += push[3:] * LIMITS.rotation
        return limit_action(executed)


def _reach(world: World, colour: str) -> Array:
    """Over the block, down a funnel, and close."""
    block, tool = world.block_position(colour), world.arm.position
    sideways = block[:2] - tool[:2]
    error = float(np.linalg.norm(sideways))
    # On the way down; fingers that close turn the block the rest of the way. If it waited for the right angle, all
    # heights would depend on one that small images hardly show.
    turn = _upright(world, world.block_yaw_from_tool(colour))
    height = tool[2] - block[2]
    # Half closed it rather goes on than opens again.
    slack = 1 + CLOSING_SLACK * (1 - world.arm.opening)
    # The more the tool is off, the higher it has to stay, so that the fingers come down beside the block.
    wanted = GRASP + np.clip(FUNNEL_SLOPE * (error - BESIDE_SIDEWAYS), 0, HOVER)
    shift = _funnel(sideways, wanted - height)
    if error < slack * CLOSE_SIDEWAYS and height < slack * CLOSE_HEIGHT:
        share = np.clip((HELD_OPENING - world.arm.opening) / HELD_RANGE, 0, 1)
        shift[2] += share * (LIMITS.translation - shift[2])
        return _action(shift, turn, CLOSED)
    return _action(shift, turn, OPEN)


def _lift(world: World) -> Array:
    turn = _upright(world, 0.0)
    return _action(np.array([0.0, 0.0, LIMITS.translation]), turn, CLOSED)


def _carry(world: World, colour: str, base: str) -> Array:
    """The held block up, over the other one, down, and open."""
    above = world.block_position(colour) - world.block_position(base)
    error = float(np.linalg.norm(above[:2]))
    height = above[2] - 2 * BLOCK_HALF
    wanted = np.clip(CARRY_SLOPE * (error - RELEASE_SIDEWAYS), 0, CLEARANCE)
    opening = OPEN if error < RELEASE_SIDEWAYS and height < RELEASE_HEIGHT else CLOSED
    return _action(_funnel(-above[:2], wanted - height), _upright(world, 0.0), opening)


def _let_go(world: World) -> Array:
    """Open, then leave upwards."""
    up = LIMITS.translation if world.arm.opening > LET_GO else 0.0
    return _action(np.array([0.0, 0.0, up]), _upright(world, 0.0), OPEN)


def _rests_on(world: World, colour: str, base: str) -> bool:
    above = world.block_position(colour) - world.block_position(base)
    near = np.linalg.norm(above[:2]) < PLACED_SIDEWAYS and abs(above[2] - 2 * BLOCK_HALF) < PLACED_HEIGHT
    return bool(near)


def _funnel(sideways: Array, up: float) -> Array:
    """A step sideways and up (or down); what is too low rises before it moves sideways."""
    share = float(np.clip(1 - (up - 0.005) / 0.02, 0, 1))
    return np.array([*(sideways * share), up])


def _upright(world: World, turn: float) -> Array:
    """The rotation that makes the tool upright and turns it by ``turn`` about the vertical."""
    tool = world.arm.rotation
    yaw = matrix_to_rpy(tool)[2]
    return matrix_to_rpy(rpy_to_matrix([0.0, 0.0, yaw + turn]) @ tool.T)


def _action(shift: Array, turn: Array, opening: float) -> Array:
    action = np.zeros(ACTION_DIM)
    action[TRANSLATION], action[ROTATION], action[GRIPPER] = shift, turn, opening
    return limit_action(action, EXPERT_LIMITS)
