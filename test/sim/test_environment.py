"""Episodes: observations as a policy takes them, in lock step, repeatable to the bit."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from robovlms_ros.evaluation.environment import SICommander, run_seed
from robovlms_ros.policy.robot_profile import load_profile
from robovlms_ros.policy.types import ActionChunk, Observation
from robovlms_ros.sim.environment import MAX_STEPS, TabletopEnvironment
from robovlms_ros.sim.expert import expert_action
from robovlms_ros.sim.randomization import Randomization
from robovlms_ros.sim.scene import COLOURS
from robovlms_ros.sim.tasks import FAMILIES, Family, Task

STAY = np.array([0, 0, 0, 0, 0, 0, 1.0])


def film(environment: TabletopEnvironment, seed: int, steps: int = 6) -> list[np.ndarray]:
    observation = environment.reset(seed)
    frames = list(observation.images.values())
    for _ in range(steps):
        observation = environment.step(expert_action(environment.world, environment.task))
        frames += observation.images.values()
    return [frame for frame in frames if frame is not None]


def test_an_observation_has_both_cameras_the_instruction_and_the_state(environment: TabletopEnvironment) -> None:
    observation = environment.reset(0)
    assert list(observation.images) == ["static", "hand"]
    for image in observation.images.values():
        assert image is not None
        assert (image.shape, image.dtype) == ((32, 32, 3), np.uint8)
    assert observation.instruction == f"pick up the {environment.task.target} block"
    assert observation.state is not None
    assert observation.state.shape == (7,)
    assert 0 <= observation.state[6] <= 1


def test_the_same_seed_gives_the_same_frames_whatever_was_before(
    environment: TabletopEnvironment, backend: str
) -> None:
    first = film(environment, 5)
    film(environment, 6)
    again = film(environment, 5)
    with TabletopEnvironment("pick", image_size=32, backend=backend) as other:
        elsewhere = film(other, 5)
    assert len(first) == 14
    assert all((a == b).all() and (a == c).all() for a, b, c in zip(first, again, elsewhere, strict=True))


def test_every_block_shows_its_colour_in_the_static_camera(backend: str) -> None:
    with TabletopEnvironment("pick", image_size=96, backend=backend) as environment:
        for seed in range(5):
            image = environment.reset(seed).images["static"]
            assert image is not None
            strongest = image.astype(int)
            for channel in range(len(COLOURS)):
                others = np.delete(strongest, channel, axis=2).max(axis=2)
                assert (strongest[:, :, channel] > others + 50).sum() >= 20


@pytest.mark.parametrize("amount", [None, Randomization()])
def test_a_task_can_be_set_in_the_scene_of_a_seed(backend: str, amount: Randomization | None) -> None:
    """What the swapped-instruction control needs: the same scene, another order."""
    with TabletopEnvironment("pick", 32, backend=backend, randomization=amount) as environment:
        drawn = environment.reset(2)
        other = next(colour for colour in COLOURS if colour != environment.task.target)
        told = environment.reset(2, task=Task("pick", other))
        assert environment.task.target == other
        assert told.instruction == f"pick up the {other} block"
        for camera, image in drawn.images.items():
            np.testing.assert_array_equal(image, told.images[camera])
        np.testing.assert_array_equal(drawn.state, told.state)


def test_an_instruction_can_be_withheld(environment: TabletopEnvironment) -> None:
    task = (environment.reset(2), environment.task)[1]
    assert environment.reset(2, instruction="").instruction == ""
    assert environment.task == task


def test_wordings_come_from_their_own_set(backend: str) -> None:
    with TabletopEnvironment("stack", None, wording="held_out", backend=backend) as environment:
        for seed in range(10):
            assert environment.reset(seed).instruction in environment.task.sentences("held_out")


def test_an_episode_ends_with_success_or_out_of_steps() -> None:
    with TabletopEnvironment("pick", image_size=None) as environment:
        environment.reset(0)
        while not environment.finished:
            environment.step(expert_action(environment.world, environment.task))
        assert environment.succeeded
        assert environment.steps < 25
        environment.reset(0)
        assert not environment.finished
        for _ in range(MAX_STEPS["pick"]):
            environment.step(STAY)
        assert environment.finished
        assert not environment.succeeded
        with pytest.raises(RuntimeError, match="reset"):
            environment.step(STAY)


class ExpertSession:
    """A policy that knows everything: what it predicts takes the way of any policy's actions."""

    def __init__(self, environment: TabletopEnvironment) -> None:
        self.environment = environment
        self.profile = load_profile("tabletop")

    def reset(self) -> None:
        pass

    def step(self, observation: Observation) -> ActionChunk:
        action = expert_action(self.environment.world, self.environment.task)
        normalized = self.profile.normalize(self.profile.from_si(action[None]))
        return ActionChunk(normalized, self.profile.denormalize(normalized))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_closed_loop_evaluation_runs_it_through_the_robot_profile(family: Family) -> None:
    with TabletopEnvironment(family, image_size=None) as environment:
        session = ExpertSession(environment)
        for seed in range(3):
            done = run_seed(session, environment, SICommander(session.profile.to_si), seed, MAX_STEPS[family])
            assert done.succeeded
            assert done.steps < MAX_STEPS[family]
            assert done.instruction in environment.task.sentences()


def test_the_example_of_the_document_runs(backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    document = Path(__file__).resolve().parents[2] / "docs" / "tabletop.md"
    example = re.search(r"```python\n(.+?)```", document.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    exec(example[1], {})
    assert re.fullmatch(r"True \d+\n", capsys.readouterr().out)


def test_nothing_runs_before_a_reset() -> None:
    with TabletopEnvironment("pick", image_size=None) as environment, pytest.raises(RuntimeError, match="reset"):
        environment.step(STAY)


def test_info_tells_where_the_named_blocks_are_from_the_tool() -> None:
    with TabletopEnvironment("stack", image_size=None) as environment:
        observation = environment.reset(1)
        info, task = environment.info, environment.task
        assert task.base is not None
        assert observation.state is not None
        for key, colour in (("target", task.target), ("base", task.base)):
            relative = info[key]
            assert relative is not None
            where = environment.world.arm.rotation @ relative[:3] + observation.state[:3]
            np.testing.assert_allclose(where, environment.world.block_position(colour), atol=1e-9)
        environment.reset(1, task=Task("pick", "red"))
        assert environment.info["base"] is None
