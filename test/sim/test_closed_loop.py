from __future__ import annotations

import numpy as np
import pytest
from acting import KnowingPolicy, SensitivePolicy

from robovlms_ros.policy.chunk_settings import ChunkSettings
from robovlms_ros.sim.closed_loop import ClosedLoop, EpisodeResult, LoopSettings
from robovlms_ros.sim.environment import TabletopEnvironment
from robovlms_ros.sim.expert import expert_action
from robovlms_ros.sim.motion import LIMITS
from robovlms_ros.sim.scene import STEP_DURATION
from robovlms_ros.sim.tasks import Task


def expert_loop(environment: TabletopEnvironment, output: str = "twist", **settings: object) -> ClosedLoop:
    policy = KnowingPolicy(lambda: expert_action(environment.world, environment.task))
    return ClosedLoop(policy, environment, LoopSettings(output=output, **settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("output", ["twist", "pose"])
def test_the_expert_succeeds_through_controller_and_bridge(environment: TabletopEnvironment, output: str) -> None:
    loop = expert_loop(environment, output)
    found = [loop.run(seed) for seed in range(3)]
    assert all(episode.succeeded for episode in found)
    assert max(episode.steps for episode in found) < 30


def test_a_policy_with_another_task_is_judged_by_that_one(environment: TabletopEnvironment) -> None:
    found = expert_loop(environment).run(3, task=Task("pick", "blue"))
    assert (found.succeeded, found.task.target, found.instruction) == (True, "blue", "pick up the blue block")


@pytest.mark.parametrize(
    ("output", "chunk"), [("twist", ChunkSettings("open_loop", 3)), ("pose", ChunkSettings("ensemble"))]
)
def test_an_episode_is_the_same_whatever_ran_before(
    environment: TabletopEnvironment, output: str, chunk: ChunkSettings
) -> None:
    loop = ClosedLoop(SensitivePolicy(), environment, LoopSettings(chunk, output))
    first = loop.run(7)
    loop.run(8)
    assert_same(loop.run(7), first)


def assert_same(one: EpisodeResult, other: EpisodeResult) -> None:
    assert (one.succeeded, one.steps, one.instruction) == (other.succeeded, other.steps, other.instruction)
    np.testing.assert_array_equal(one.actions, other.actions)


def test_twists_do_what_the_actions_say_and_keep_the_limits(environment: TabletopEnvironment) -> None:
    found = ClosedLoop(SensitivePolicy(), environment).run(1)
    lengths = np.linalg.norm(found.actions[:, :3], axis=1)
    turns = np.linalg.norm(found.actions[:, 3:6], axis=1)
    assert lengths.max() <= LIMITS.translation * (1 + 1e-9)
    assert turns.max() <= LIMITS.rotation * 1.01  # of the same rotation, as angles and about an axis
    assert lengths.max() > 0.99 * LIMITS.translation
    assert not environment.finished or found.steps == len(found.actions)


@pytest.mark.parametrize("horizon", [1, 3, 5])
def test_a_model_runs_as_often_as_its_chunks_are_used_up(environment: TabletopEnvironment, horizon: int) -> None:
    found = ClosedLoop(SensitivePolicy(), environment, LoopSettings(ChunkSettings("open_loop", horizon))).run(2)
    assert len(found.latencies) == -(-found.steps // horizon)


@pytest.mark.parametrize("steps_late", [0, 2])
def test_an_inference_beside_the_motion_comes_late_by_its_time(
    environment: TabletopEnvironment, steps_late: int
) -> None:
    chunk = ChunkSettings("open_loop", 1, overlap=True)
    settings = LoopSettings(chunk, delay_ns=round(steps_late * STEP_DURATION * 1e9))
    found = ClosedLoop(SensitivePolicy(), environment, settings).run(2)
    assert found.idle == steps_late  # before the first answer; then chunks of five bridge the time
    assert not found.actions[:steps_late, :6].any()
    assert found.actions[steps_late:, :6].any(axis=1).all()


def test_a_delay_without_overlap_is_refused() -> None:
    with pytest.raises(ValueError, match=r"set chunk\.overlap"):
        LoopSettings(delay_ns=1)


def test_an_empty_instruction_is_refused(environment: TabletopEnvironment) -> None:
    with pytest.raises(ValueError, match="means stop"):
        ClosedLoop(SensitivePolicy(), environment).run(0, instruction=" ")
