"""The scripted expert. Its rate on 500 seeds is made by `robovlms sim expert`, see docs/tabletop.md."""

from __future__ import annotations

import numpy as np
import pytest

from robovlms_ros.sim.environment import MAX_STEPS
from robovlms_ros.sim.expert import Noise, expert_action
from robovlms_ros.sim.motion import LIMITS
from robovlms_ros.sim.success import SuccessCondition
from robovlms_ros.sim.tasks import FAMILIES, Family, draw_task
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


def test_noise_disturbs_its_share_of_steps_within_the_limits_and_never_the_gripper() -> None:
    noise, random = Noise(share=0.3, scale=1.0), np.random.default_rng(0)
    action = np.array([0.02, 0, 0, 0, 0, 0.1, 1.0])
    executed = np.array([noise.disturb(action, random) for _ in range(2000)])
    assert (executed != action).any(axis=1).mean() == pytest.approx(0.3, abs=0.05)
    assert np.linalg.norm(executed[:, :3], axis=1).max() <= LIMITS.translation * (1 + 1e-9)
    assert np.linalg.norm(executed[:, 3:6], axis=1).max() <= LIMITS.rotation * (1 + 1e-9)
    assert (executed[:, 6] == 1).all()
    assert (action == [0.02, 0, 0, 0, 0, 0.1, 1.0]).all()
