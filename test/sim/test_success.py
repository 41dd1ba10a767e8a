"""When a task counts as done."""

from __future__ import annotations

import numpy as np
import pytest

from robovlms_ros.sim.expert import expert_action
from robovlms_ros.sim.scene import BLOCK_HALF
from robovlms_ros.sim.success import SuccessCondition, lifted
from robovlms_ros.sim.tasks import Task
from robovlms_ros.sim.world import World

STAY = np.array([0, 0, 0, 0, 0, 0, 1.0])
STACK = Task("stack", "red", "blue")
ON_TOP = np.array([0.1, 0.1, 3 * BLOCK_HALF])


@pytest.fixture
def aside(world: World) -> World:
    """Blue alone at (0.1, 0.1), the tool far from it."""
    world.reset(0)
    world.arm.reset(np.array([-0.15, -0.2, 0.25]), 0.0)
    world.place("green", np.array([-0.1, 0.1, BLOCK_HALF]))
    world.place("red", np.array([-0.1, -0.05, BLOCK_HALF]))
    world.place("blue", np.array([0.1, 0.1, BLOCK_HALF]))
    return world


def steps_until_done(world: World, task: Task, limit: int = 20) -> int | None:
    condition = SuccessCondition(task)
    for step in range(1, limit + 1):
        world.step(STAY)
        if condition.update(world):
            return step
    return None


@pytest.mark.parametrize(("height", "expected"), [(0.119, False), (0.121, True)])
def test_a_block_is_picked_above_12_cm(aside: World, height: float, expected: bool) -> None:
    aside.place("red", np.array([0.0, 0.0, height]))
    assert lifted(aside, "red") is expected


def test_another_block_does_not_count(aside: World) -> None:
    aside.place("green", np.array([0.0, 0.0, 0.2]))
    assert not SuccessCondition(Task("pick", "red")).update(aside)
    assert SuccessCondition(Task("pick", "green")).update(aside)


def test_a_block_at_rest_on_the_named_one_is_stacked_after_a_while(aside: World) -> None:
    aside.place("red", ON_TOP)
    steps = steps_until_done(aside, STACK)
    assert steps is not None
    assert steps >= 5


def test_the_wrong_base_the_wrong_order_and_the_table_are_not_stacked(aside: World) -> None:
    assert steps_until_done(aside, STACK) is None
    aside.place("red", ON_TOP)
    assert steps_until_done(aside, Task("stack", "red", "green")) is None
    assert steps_until_done(aside, Task("stack", "blue", "red")) is None


def test_a_block_that_falls_past_is_not_stacked(aside: World) -> None:
    aside.place("red", ON_TOP + np.array([0.03, 0, 0]))
    assert steps_until_done(aside, STACK) is None


def test_a_block_on_a_tower_of_two_is_not_stacked(aside: World) -> None:
    """The base has to lie on the table."""
    aside.place("blue", np.array([0.1, 0.1, 3 * BLOCK_HALF]))
    aside.place("green", np.array([0.1, 0.1, BLOCK_HALF]))
    aside.place("red", np.array([0.1, 0.1, 5 * BLOCK_HALF]))
    assert steps_until_done(aside, STACK) is None


def test_a_block_that_is_still_held_is_not_stacked(world: World) -> None:
    world.reset(0)
    condition = SuccessCondition(STACK)
    for _ in range(60):
        action = expert_action(world, STACK)
        above = world.block_position("red") - world.block_position("blue")
        if np.linalg.norm(above[:2]) < 0.01 and abs(above[2] - 2 * BLOCK_HALF) < 0.003:
            action[:3], action[6] = 0, 0  # there, but never lets go
        world.step(action)
        assert not condition.update(world)
    assert np.linalg.norm(world.block_position("red") - world.block_position("blue")) < 0.05
    assert world.fingers_on("red")


def test_success_stays(aside: World) -> None:
    condition = SuccessCondition(Task("pick", "red"))
    aside.place("red", np.array([0.0, 0.0, 0.2]))
    assert condition.update(aside)
    aside.place("red", np.array([0.0, 0.0, BLOCK_HALF]))
    assert condition.update(aside)
