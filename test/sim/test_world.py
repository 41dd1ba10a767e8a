"""The physical world: seeded scenes, repeatable to the bit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robovlms_ros.sim.scene import BLOCK_HALF, COLOURS
from robovlms_ros.sim.world import BLOCK_AREA, BLOCK_DISTANCE, World

WORLD = World()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**63))
def test_blocks_lie_apart_on_the_table_under_an_open_gripper(seed: int) -> None:
    WORLD.reset(seed)
    positions = {colour: WORLD.block_position(colour) for colour in COLOURS}
    for position in positions.values():
        assert (np.abs(position[:2]) <= BLOCK_AREA + 1e-3).all()
        assert position[2] == pytest.approx(BLOCK_HALF, abs=1e-3)
    for one, other in itertools.combinations(positions.values(), 2):
        assert np.linalg.norm(one - other) >= BLOCK_DISTANCE - 1e-3
    assert WORLD.arm.opening == pytest.approx(1, abs=1e-3)
    assert WORLD.arm.position[2] > 0.14
    assert not any(WORLD.fingers_on(colour) for colour in COLOURS)


def test_the_same_seed_and_actions_give_the_same_bits_whatever_was_before(world: World) -> None:
    actions = np.random.default_rng(0).uniform(-1, 1, (40, 7)) * [0.03, 0.03, 0.03, 0.15, 0.15, 0.15, 1]
    actions[:, 6] = np.abs(actions[:, 6])

    def run(place: World) -> np.ndarray:
        place.reset(7)
        states = []
        for action in actions:
            place.step(action)
            states.append(np.concatenate([place.physics(), place.state()]))
        return np.array(states)

    first = run(world)
    world.reset(8)
    world.step(actions[0])
    assert (run(world) == first).all()
    assert (run(World()) == first).all()


def test_other_seeds_are_other_scenes(world: World) -> None:
    scenes = set()
    for seed in range(10):
        world.reset(seed)
        scenes.add(tuple(world.block_position("red")))
    assert len(scenes) == 10


def test_a_block_is_seen_from_the_tool_in_the_tools_own_frame(world: World) -> None:
    world.reset(0)
    world.arm.reset(np.array([0.1, 0.0, 0.1]), np.pi / 2)
    world.place("red", np.array([0.1, 0.05, 0.02]), yaw=np.pi / 2 + 0.2)
    x, y, z, sine, cosine = world.block_from_tool("red")
    np.testing.assert_allclose([x, y, z], [0.05, 0, -0.08], atol=1e-9)
    np.testing.assert_allclose([sine, cosine], [np.sin(0.8), np.cos(0.8)], atol=1e-9)


def test_a_quarter_turn_of_a_block_changes_nothing(world: World) -> None:
    world.reset(0)
    world.place("red", np.array([0.0, 0.0, 0.02]), yaw=0.3)
    before = world.block_from_tool("red")
    world.place("red", np.array([0.0, 0.0, 0.02]), yaw=0.3 + np.pi / 2)
    np.testing.assert_allclose(world.block_from_tool("red"), before, atol=1e-9)
