"""The scripted expert. Its rate on 500 seeds is made by `robovlms sim expert`, see docs/tabletop.md."""

from __future__ import annotations

import numpy as np
import pytest

from robovlms_ros.sim.environment import MAX_STEPS
from robovlms_ros.sim.expert import Noise, expert_action
from robovlms_ros.sim.motion import LIMITS
from robovlms_ros.sim.scene import BLOCK_HALF
from robovlms_ros.sim.success import SuccessCondition
from robovlms_ros.sim.tasks import FAMILIES, Family, Task, draw_task
from robovlms_ros.sim.world import World


def attempt(world: World, family: Family, seed: int, noise: Noise | None = None) -> int | None:
    """Steps until success, None without."""
    world.reset(seed)
    task, random = draw_task(family, seed), np.random.default_rng(seed)
    condition = SuccessCondition(task)
    for step in range(1, MAX_STEPS[family] + 1):
        action = expert_action(world, task)
        world.step(action if noise is None else noise.disturb(action, random))
        if condition.update(world):
            return step
    return None


@pytest.mark.parametrize("family", FAMILIES)
def test_it_succeeds_on_every_seed_with_time_to_spare(world: World, family: Family) -> None:
    steps = [attempt(world, family, seed) for seed in range(20)]
    assert all(step is not None and step <= MAX_STEPS[family] // 2 for step in steps)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_recovers_from_noise(world: World, family: Family) -> None:
    assert sum(attempt(world, family, seed, Noise()) is not None for seed in range(10)) >= 9


def test_it_has_no_memory(world: World) -> None:
    """The same state is labelled the same, whoever brought it about."""
    world.reset(3)
    task = draw_task("pick", 3)
    for _ in range(5):
        world.step(expert_action(world, task))
    label = expert_action(world, task)
    expert_action(world, draw_task("stack", 4))
    assert (expert_action(world, task) == label).all()


def test_fingers_around_a_turned_block_lift_it_whether_both_touch_it_or_not(world: World) -> None:
    """Contacts with corners come and go; a label that goes with them teaches to wait beside the block."""
    world.reset(0)
    task = Task("pick", "red")
    world.place("red", np.array([*world.arm.position[:2], BLOCK_HALF]), 0.4)
    world.arm.reset(world.block_position("red"), 0.0)
    for _ in range(8):
        world.step(np.zeros(7))
    assert world.grasped("red")
    assert expert_action(world, task)[2] > 0.02
    held = world.block_position("red")
    world.place("red", held + np.array([0.008, 0.0, 0.001]), 0.4)
    assert not world.grasped("red")
    assert expert_action(world, task)[2] > 0.003


def test_a_block_over_its_place_is_brought_nearer_also_while_it_is_let_go(world: World) -> None:
    """Where 'closer' and 'stay' are a few millimetres apart, a policy stands still between them."""
    world.reset(0)
    task = Task("stack", "red", "blue")
    while not world.grasped("red") or world.block_position("red")[2] < 3 * BLOCK_HALF + 0.005:
        world.step(expert_action(world, task))
    held = world.block_position("red")
    for distance in (0.006, 0.012, 0.016, 0.025, 0.035):
        for angle in np.arange(0, 2 * np.pi, 0.7):
            shift = distance * np.array([np.cos(angle), np.sin(angle)])
            world.place("blue", np.array([*(held[:2] + shift), held[2] - 2 * BLOCK_HALF - 0.004]))
            assert expert_action(world, task)[:2] @ shift > 0.2 * distance**2


def test_noise_disturbs_its_share_of_steps_within_the_limits_and_never_the_gripper() -> None:
    noise, random = Noise(share=0.3, scale=1.0), np.random.default_rng(0)
    action = np.array([0.02, 0, 0, 0, 0, 0.1, 1.0])
    executed = np.array([noise.disturb(action, random) for _ in range(2000)])
    assert (executed != action).any(axis=1).mean() == pytest.approx(0.3, abs=0.05)
    assert np.linalg.norm(executed[:, :3], axis=1).max() <= LIMITS.translation * (1 + 1e-9)
    assert np.linalg.norm(executed[:, 3:6], axis=1).max() <= LIMITS.rotation * (1 + 1e-9)
    assert (executed[:, 6] == 1).all()
    assert (action == [0.02, 0, 0, 0, 0, 0.1, 1.0]).all()
