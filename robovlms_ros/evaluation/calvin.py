"""The CALVIN benchmark, where it is installed: five instructions in a row, as upstream runs them."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import yaml
from numpy.typing import NDArray

from robovlms_ros.evaluation.environment import rollout
from robovlms_ros.evaluation.errors import EvaluationError
from robovlms_ros.policy.types import ActionChunk, Observation, Session

# Steps that each task of a sequence may take, at the environment's 30 Hz.
MAX_STEPS = 360
CHAIN = 5
"""Tasks in a sequence."""

InitialState = Mapping[str, Any]


class CalvinCommander:
    """The environment's own units, and the gripper as -1 = close, 1 = open."""

    def reset(self) -> None:
        """Nothing is remembered."""

    def action(self, chunk: ActionChunk) -> NDArray[np.float64]:
        """Return row 0 as ``PlayTableSimEnv.step`` takes it."""
        action = np.array(chunk.actions[0])
        action[-1] = 2 * action[-1] - 1
        return action


class TaskOracle(Protocol):
    """``calvin_env.envs.tasks.Tasks``: which tasks were done between two states of the simulation."""

    def get_task_info_for_set(self, start_info: Any, end_info: Any, tasks: set[str]) -> set[str]:
        """Those of ``tasks`` that are done."""


@dataclass(frozen=True)
class TaskSequence:
    """Where everything lies at first, and the tasks to do one after the other."""

    initial_state: InitialState
    tasks: tuple[str, ...]


class CalvinEnvironment:
    """CALVIN's simulation, one task after another without a reset between them.

    ``env`` is a ``PlayTableSimEnv``, ``place(initial_state)`` gives what its ``reset`` takes, as
    ``get_env_state_for_initial_condition`` does.
    """

    def __init__(self, env: Any, oracle: TaskOracle, annotations: Mapping[str, Sequence[str]], place: Any) -> None:
        self._env = env
        self._oracle = oracle
        self._annotations = annotations
        self._place = place
        self._task = ""
        self.succeeded = False

    @property
    def finished(self) -> bool:
        """A task ends with its success."""
        return self.succeeded

    def place(self, initial_state: InitialState) -> None:
        """Begin a sequence: put everything where it says."""
        robot, scene = self._place(initial_state)
        self._env.reset(robot_obs=robot, scene_obs=scene)

    def begin(self, task: str) -> Observation:
        """Begin the next task, from where the last one ended, with its first annotation as the instruction."""
        if task not in self._annotations:
            raise EvaluationError(f"no annotation for the task {task!r}; is this the validation set's file?")
        self._task, self.succeeded = task, False
        self._start_info = self._env.get_info()
        return self._observation(self._env.get_obs())

    def step(self, action: NDArray[np.float64]) -> Observation:
        """Execute one action of a `CalvinCommander`."""
        observation, _, _, info = self._env.step(action)
        self.succeeded = bool(self._oracle.get_task_info_for_set(self._start_info, info, {self._task}))
        return self._observation(observation)

    def reset(self, seed: int) -> Observation:
        """CALVIN has sequences instead of seeds; see `place` and `begin`."""
        raise EvaluationError(f"CALVIN is run by its sequences, not by a seed such as {seed}")

    def _observation(self, observation: Any) -> Observation:
        images = {
            "static": observation["rgb_obs"]["rgb_static"],
            "hand": observation["rgb_obs"].get("rgb_gripper"),
        }
        state = np.asarray(observation["robot_obs"], np.float64)
        # CALVIN's state has the gripper's width in metres after the pose; 8 cm is open.
        opening = np.clip(state[6:7] / 0.08, 0.0, 1.0)
        instruction = str(self._annotations[self._task][0])
        return Observation(images, instruction, state=np.concatenate([state[:6], opening]))


def run_sequences(
    session: Session, environment: CalvinEnvironment, sequences: Sequence[TaskSequence], max_steps: int = MAX_STEPS
) -> Iterator[int]:
    """Run each sequence until its first failure; yield how many of its tasks were done."""
    for sequence in sequences:
        environment.place(sequence.initial_state)
        done = 0
        for task in sequence.tasks:
            succeeded, _, _ = rollout(session, environment, CalvinCommander(), environment.begin(task), max_steps)
            if not succeeded:
                break
            done += 1
        yield done


def chain_rates(done: Sequence[int]) -> list[float]:
    """Share of the sequences in which at least 1, 2, ... 5 tasks in a row were done."""
    return [float(np.mean(np.asarray(done) >= length)) for length in range(1, CHAIN + 1)]


def read_sequences(path: Path) -> list[TaskSequence]:
    """Read upstream's ``eval_sequences.json``: ``[[initial state, [task, ...]], ...]``."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [TaskSequence(dict(state), tuple(str(task) for task in tasks)) for state, tasks in content]
    except (OSError, ValueError, TypeError) as error:
        raise EvaluationError(
            f"{path} is not a list of [initial state, [tasks]] in JSON, as RoboVLMs' "
            f"configs/data/calvin/eval_sequences.json is: {error}"
        ) from error


def make_environment(dataset: Path, calvin_models: Path) -> CalvinEnvironment:
    """Make the simulation of the validation set of ``dataset`` (``task_ABCD_D``).

    ``calvin_models`` is that folder of CALVIN's repository; its ``conf`` has tasks and annotations. Raises
    `EvaluationError` where CALVIN is not installed or a file is missing.
    """
    conf = calvin_models / "conf"
    tasks, annotations = (
        conf / "callbacks/rollout/tasks/new_playtable_tasks.yaml",
        conf / "annotations/new_playtable_validation.yaml",
    )
    for path in (dataset / "validation", tasks, annotations):
        if not path.exists():
            raise EvaluationError(f"{path} does not exist; give CALVIN's dataset and its folder calvin_models")
    try:
        play_table = importlib.import_module("calvin_env.envs.play_table_env")
        utilities = importlib.import_module("calvin_agent.evaluation.utils")
        hydra, omegaconf = importlib.import_module("hydra"), importlib.import_module("omegaconf")
    except ImportError as error:
        raise EvaluationError(
            f"CALVIN cannot be imported ({error}); install it as https://github.com/mees/calvin says"
        ) from error
    oracle = hydra.utils.instantiate(omegaconf.OmegaConf.load(tasks))
    return CalvinEnvironment(
        play_table.get_env(dataset / "validation", show_gui=False),
        oracle,
        yaml.safe_load(annotations.read_text(encoding="utf-8")),
        utilities.get_env_state_for_initial_condition,
    )
