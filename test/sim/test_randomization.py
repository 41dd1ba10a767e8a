"""Domain randomisation: the looks change with the seed, what happens does not."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from robovlms_ros.sim.environment import TabletopEnvironment
from robovlms_ros.sim.expert import expert_action
from robovlms_ros.sim.randomization import Appearance, Randomization
from robovlms_ros.sim.scene import BLOCK_RGB, build_model

HUES = {"red": 0.0, "green": 1 / 3, "blue": 2 / 3}


def looks(model: object) -> dict[str, np.ndarray]:
    return {name: getattr(model, name).copy() for name in Appearance._FIELDS}


def test_the_designed_looks_come_back() -> None:
    model = build_model()
    appearance, designed = Appearance(model), looks(model)
    appearance.reset(Randomization(), seed=1)
    assert all((looks(model)[name] != values).any() for name, values in designed.items())
    appearance.reset()
    assert all((looks(model)[name] == values).all() for name, values in designed.items())


def test_no_amount_changes_nothing() -> None:
    model = build_model()
    appearance, designed = Appearance(model), looks(model)
    appearance.reset(Randomization(*[0.0] * 8), seed=1)
    for name, values in designed.items():
        np.testing.assert_allclose(looks(model)[name], values, atol=1e-6)


@pytest.mark.parametrize("colour", BLOCK_RGB)
def test_a_block_stays_what_its_colour_is_called(colour: str) -> None:
    model = build_model()
    appearance = Appearance(model)
    seen = []
    for seed in range(50):
        appearance.reset(Randomization(), seed)
        red, green, blue = model.geom_rgba[model.geom(colour).id, :3]
        hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
        assert abs((hue - HUES[colour] + 0.5) % 1 - 0.5) < 0.08
        assert saturation > 0.6
        assert value > 0.4
        seen.append(hue)
    assert np.ptp([(hue + 0.5) % 1 for hue in seen]) > 0.02


def test_episodes_look_different_and_go_the_same(backend: str) -> None:
    endings, beginnings = [], []
    for amount in (None, Randomization(), Randomization()):
        with TabletopEnvironment("pick", 32, randomization=amount, backend=backend) as environment:
            beginnings.append(environment.reset(4).images["static"])
            while not environment.finished:
                environment.step(expert_action(environment.world, environment.task))
            endings.append(environment.world.physics())
    assert (endings[0] == endings[1]).all()
    assert np.abs(beginnings[0].astype(int) - beginnings[1]).mean() > 5
    np.testing.assert_array_equal(beginnings[1], beginnings[2])
