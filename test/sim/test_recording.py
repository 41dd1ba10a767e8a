"""Episodes of the expert as a dataset that training reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow")

from robovlms_ros.data.errors import DataError
from robovlms_ros.data.folder.reader import open_dataset
from robovlms_ros.policy.robot_profile import load_profile
from robovlms_ros.sim.environment import TabletopEnvironment
from robovlms_ros.sim.expert import Noise, expert_action
from robovlms_ros.sim.privileged import read_privileged
from robovlms_ros.sim.recording import FIRST_TRAINING_SEED, MOST_CORRECTED, RecordingPlan, record

PLAN = RecordingPlan(episodes=3, families=("pick", "stack"), image_size=24, noise=Noise())


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, backend: str) -> Path:
    folder = tmp_path_factory.mktemp("recorded") / "dataset"
    info = record(PLAN, folder)
    assert info.complete
    assert info.episodes == 3
    return folder


def test_what_was_recorded_is_what_the_environment_gives(dataset: Path, backend: str) -> None:
    episode, told = open_dataset(dataset)[1], read_privileged(dataset)
    assert episode.identifier == f"stack-{FIRST_TRAINING_SEED + 1}"
    seen = told[episode.identifier]
    with TabletopEnvironment("stack", 24, wording="train", backend=backend) as environment:
        observation = environment.reset(FIRST_TRAINING_SEED + 1)
        assert episode.instruction == observation.instruction
        assert episode.states is not None
        for step in range(len(episode)):
            for camera, image in observation.images.items():
                np.testing.assert_array_equal(episode.image(camera, step), image)
            np.testing.assert_array_equal(episode.states[step], observation.state)
            np.testing.assert_array_equal(
                episode.actions[step], expert_action(environment.world, environment.task)
            )
            np.testing.assert_array_equal(seen.target[step], environment.info["target"])
            np.testing.assert_array_equal(seen.base[step], environment.info["base"])
            observation = environment.step(seen.executed[step])
        assert environment.succeeded


def test_where_a_policy_drives_the_expert_says_what_it_should_have_done(
    backend: str, tabletop_model: Path, tmp_path: Path
) -> None:
    plan = RecordingPlan(episodes=2, families=("pick", "stack"), first_seed=2_000_000, policy=str(tabletop_model))
    record(plan, tmp_path / "corrections")
    told, dataset = read_privileged(tmp_path / "corrections"), open_dataset(tmp_path / "corrections")
    for index in range(2):
        episode = dataset[index]
        seen = told[episode.identifier]
        family = plan.family(index)
        assert len(episode) <= MOST_CORRECTED[family]
        with TabletopEnvironment(family, None, wording="train") as environment:
            environment.reset(2_000_000 + index)
            for step in range(len(episode)):
                label = expert_action(environment.world, environment.task)
                np.testing.assert_array_equal(episode.actions[step], label)
                np.testing.assert_array_equal(seen.blocks[step], environment.info["blocks"])
                environment.step(seen.executed[step])
        assert (episode.actions != seen.executed).any()


def test_labels_are_the_experts_and_noise_is_in_what_was_executed_alone(dataset: Path) -> None:
    told = read_privileged(dataset)
    disturbed = []
    for index in range(3):
        episode = open_dataset(dataset)[index]
        disturbed += (episode.actions != told[episode.identifier].executed).any(axis=1).tolist()
    assert 0.2 < np.mean(disturbed) < 0.5
    assert np.isnan(told[f"pick-{FIRST_TRAINING_SEED}"].base).all()


def test_labels_lie_within_what_the_robot_profile_can_say(dataset: Path) -> None:
    profile = load_profile("tabletop")
    for index in range(3):
        labels = profile.normalize(open_dataset(dataset)[index].actions)
        assert np.abs(labels[:, :6]).max() < 1
        assert set(labels[:, 6].tolist()) <= {0.0, 1.0}


def test_processes_record_the_same(dataset: Path, tmp_path: Path) -> None:
    record(PLAN, tmp_path / "again", workers=2)
    assert _content(tmp_path / "again") == _content(dataset)


def test_an_interrupted_recording_goes_on(dataset: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record(PLAN, tmp_path / "dataset", progress=interrupt)
    seen: list[int] = []
    record(PLAN, tmp_path / "dataset", progress=lambda done, total: seen.append(done))
    assert seen == [3]
    assert _content(tmp_path / "dataset") == _content(dataset)
    told, before = read_privileged(tmp_path / "dataset"), read_privileged(dataset)
    for identifier, episode in before.items():
        np.testing.assert_array_equal(told[identifier].target, episode.target)


def test_another_plan_does_not_continue_it(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="finished dataset"):
        record(PLAN, dataset)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record(PLAN, tmp_path / "dataset", progress=interrupt)
    with pytest.raises(DataError, match="another origin"):
        record(replace(PLAN, noise=None), tmp_path / "dataset")


def test_where_the_expert_never_succeeds_the_episode_is_refused() -> None:
    wild = replace(PLAN, noise=Noise(share=1.0, scale=2.0))
    with pytest.raises(DataError, match="use less noise"):
        wild.rollout(wild.environment(drawing=False), 0)


def test_a_dataset_of_somebody_else_has_no_privileged_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="sim record"):
        read_privileged(tmp_path)
    (tmp_path / "privileged.npz").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="record the dataset again"):
        read_privileged(tmp_path)


def _content(folder: Path) -> dict[str, bytes]:
    """All images and numbers, by episode."""
    source = open_dataset(folder)
    found = {}
    for index in range(len(source)):
        episode = source[index]
        images = [episode.image(camera, step) for camera in ("static", "hand") for step in range(len(episode))]
        assert episode.states is not None
        numbers = episode.actions.tobytes() + episode.states.tobytes()
        found[f"{episode.identifier} {episode.instruction}"] = np.array(images).tobytes() + numbers
    return found
