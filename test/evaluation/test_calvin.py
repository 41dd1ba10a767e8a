"""CALVIN without CALVIN: an environment that shows the frames of the vectors and notes what it is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import golden_cases
import numpy as np
import pytest

from robovlms_ros.evaluation.calvin import (
    CalvinEnvironment,
    TaskSequence,
    chain_rates,
    make_environment,
    read_sequences,
    run_sequences,
)
from robovlms_ros.evaluation.errors import EvaluationError
from robovlms_ros.policy import VLAPolicy

WRAPPERS = golden_cases.arrays("wrappers")
ANNOTATIONS = {"lift": ["pick up the red block", "another way to say it"], "push": ["push the block"]}


class PlayTable:
    """Shows frames 0, 1, ... from the last reset or task on. ``info`` is the number of steps so far."""

    def __init__(self) -> None:
        self.actions: list[np.ndarray] = []
        self.placed: list[Any] = []
        self._frame = 0

    def reset(self, robot_obs: Any, scene_obs: Any) -> dict[str, Any]:
        self.placed.append((robot_obs, scene_obs))
        self._frame = 0
        return self.get_obs()

    def get_obs(self) -> dict[str, Any]:
        frame = self._frame % len(WRAPPERS["static"])
        images = {"rgb_static": WRAPPERS["static"][frame], "rgb_gripper": WRAPPERS["gripper"][frame]}
        return {"rgb_obs": images, "robot_obs": WRAPPERS["robot_obs"][frame]}

    def get_info(self) -> int:
        return len(self.actions)

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, int]:
        self.actions.append(action)
        self._frame += 1
        return self.get_obs(), 0.0, False, self.get_info()


class Oracle:
    """A task is done after the steps that are given for it."""

    def __init__(self, **needed: int) -> None:
        self._needed = needed

    def get_task_info_for_set(self, start: int, end: int, tasks: set[str]) -> set[str]:
        return {task for task in tasks if end - start >= self._needed[task]}


def environment(table: PlayTable, **needed: int) -> CalvinEnvironment:
    return CalvinEnvironment(table, Oracle(**needed), ANNOTATIONS, lambda state: (state["robot"], state["scene"]))


SEQUENCE = TaskSequence({"robot": 1, "scene": 2}, ("lift", "push", "lift"))


@pytest.mark.parametrize("case", ["calvin_lstm", "calvin_fc"])
def test_the_environment_is_told_what_upstreams_wrapper_tells_it(
    golden_policy: Callable[..., VLAPolicy], case: str
) -> None:
    table = PlayTable()
    session = golden_policy(case.replace("calvin", "kosmos"), "calvin").session()
    (done,) = run_sequences(session, environment(table, lift=8), [TaskSequence(SEQUENCE.initial_state, ("lift",))])
    expected = WRAPPERS[f"{case}__actions"][:8]
    actions = np.array(table.actions)
    assert done == 1
    np.testing.assert_allclose(actions[:, :6], expected[:, :6], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(actions[:, 6], np.sign(expected[:, 6]))


def test_a_sequence_ends_with_its_first_failure_and_is_placed_once(
    golden_policy: Callable[..., VLAPolicy],
) -> None:
    table = PlayTable()
    session = golden_policy("kosmos_fc", "calvin").session()
    done = list(run_sequences(session, environment(table, lift=2, push=100), [SEQUENCE] * 2, max_steps=4))
    assert done == [1, 1]
    assert table.placed == [(1, 2)] * 2
    assert len(table.actions) == 2 * (2 + 4)


def test_each_task_is_an_episode_although_nothing_is_reset(golden_policy: Callable[..., VLAPolicy]) -> None:
    table = PlayTable()
    session = golden_policy("kosmos_lstm", "calvin").session()
    frames = len(WRAPPERS["static"])
    twice = TaskSequence(SEQUENCE.initial_state, ("lift", "lift"))
    assert list(run_sequences(session, environment(table, lift=frames), [twice])) == [2]
    np.testing.assert_array_equal(table.actions[:frames], table.actions[frames:])


def test_rates_count_tasks_in_a_row() -> None:
    assert chain_rates([0, 5, 3, 1]) == [0.75, 0.5, 0.5, 0.25, 0.25]


def test_sequences_are_read_as_upstream_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "eval_sequences.json"
    path.write_text(json.dumps([[{"led": 1, "drawer": "open"}, ["lift", "push"]]]))
    assert read_sequences(path) == [TaskSequence({"led": 1, "drawer": "open"}, ("lift", "push"))]
    path.write_text('{"led": 1}')
    with pytest.raises(EvaluationError, match=r"not a list of \[initial state"):
        read_sequences(path)


def test_a_task_without_annotation_and_a_missing_file_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="no annotation for the task 'fly'"):
        environment(PlayTable()).begin("fly")
    with pytest.raises(EvaluationError, match="validation does not exist"):
        make_environment(tmp_path, tmp_path)


def test_without_calvin_the_error_says_where_to_get_it(tmp_path: Path) -> None:
    for name in (
        "validation",
        "conf/callbacks/rollout/tasks/new_playtable_tasks.yaml",
        "conf/annotations/new_playtable_validation.yaml",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(EvaluationError, match="CALVIN cannot be imported"):
        make_environment(tmp_path, tmp_path)
