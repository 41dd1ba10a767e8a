"""A packed model in the simulated tabletop: one row of conditions, many seeds, how many succeed.

Every episode takes the way of the nodes (`robovlms_ros.sim.closed_loop`): what is measured is what a graph does.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from robovlms_ros.evaluation.environment import SuccessRate
from robovlms_ros.policy.chunk_settings import ChunkSettings
from robovlms_ros.policy.types import ActionChunk, HistoryWindow, Observation, Session
from robovlms_ros.policy.vla_policy import VLAPolicy
from robovlms_ros.sim.closed_loop import ClosedLoop, LoopSettings
from robovlms_ros.sim.environment import DEFAULT_IMAGE_SIZE, TabletopEnvironment
from robovlms_ros.sim.rendering import find_backend
from robovlms_ros.sim.scene import COLOURS
from robovlms_ros.sim.tasks import Family, Task, Wording, all_tasks, draw_task

Told = Literal["its task", "another task", "no colour"]
History = Literal["on", "off", "shuffled"]


@dataclass(frozen=True)
class Condition:
    """How episodes are run.

    ``execute`` actions of each chunk, then the model again. With ``delay`` (seconds) the arm acts while the model
    works, which takes so long; the model then begins again as soon as it has answered. ``told``: the sentence of
    the seed's task; that of another target in the same scene, which is then what counts as success; or the
    canonical sentence without its colours, which says nothing of what counts, the seed's own task. ``history``:
    what the model is shown of its executed actions.
    """

    family: Family = "pick"
    execute: int = 1
    delay: float | None = None
    wording: Wording = "canonical"
    told: Told = "its task"
    history: History = "on"

    @property
    def settings(self) -> LoopSettings:
        """The same for the loop."""
        if self.delay is not None:
            chunk = ChunkSettings("open_loop", horizon=self.execute, overlap=True)
            return LoopSettings(chunk, delay_ns=round(self.delay * 1e9))
        return LoopSettings(ChunkSettings("open_loop", self.execute) if self.execute > 1 else ChunkSettings())


@dataclass(frozen=True)
class Outcome:
    """One episode. ``succeeded``: whether what counts was done. ``latency``: median seconds of an inference."""

    seed: int
    instruction: str
    succeeded: bool
    steps: int
    idle: int
    latency: float


@dataclass(frozen=True)
class Model:
    """A packed model, and which of its policy heads."""

    folder: Path
    policy_head: str = ""


class Runner:
    """Runs episodes of one model, one after the other. Close it, or use it as a context manager."""

    def __init__(self, model: Model, image_size: int = DEFAULT_IMAGE_SIZE, backend: str | None = None) -> None:
        self._policy = VLAPolicy.load(model.folder, model.policy_head)
        self._image_size, self._backend = image_size, backend
        self._environments: dict[Wording, TabletopEnvironment] = {}

    def run(self, condition: Condition, seed: int) -> Outcome:
        """The episode of ``seed``."""
        if condition.wording not in self._environments:
            self._environments[condition.wording] = TabletopEnvironment(
                condition.family, self._image_size, condition.wording, backend=self._backend
            )
        environment = self._environments[condition.wording]
        own = draw_task(condition.family, seed)
        task = another_task(own, seed) if condition.told == "another task" else own
        policy: Any = self._policy
        if condition.history != "on":
            policy = _WithoutHistory(policy, condition.history, seed)
        loop = ClosedLoop(policy, environment, condition.settings)
        result = loop.run(seed, task, without_colours(own) if condition.told == "no colour" else None)
        return Outcome(
            seed=seed,
            instruction=result.instruction,
            succeeded=result.succeeded,
            steps=result.steps,
            idle=result.idle,
            latency=float(np.median(result.latencies)) if result.latencies else 0.0,
        )

    def close(self) -> None:
        """Give the graphics memory back."""
        for environment in self._environments.values():
            environment.close()

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def another_task(task: Task, seed: int) -> Task:
    """A task of the same family with another target, drawn from ``seed``."""
    others = [other for other in all_tasks(task.family) if other.target != task.target]
    return others[int(np.random.default_rng([seed, 5]).integers(len(others)))]


def without_colours(task: Task) -> str:
    """The canonical sentence of ``task`` without the words that tell one block from another."""
    return " ".join(word for word in task.sentences()[0].split() if word not in COLOURS)


class _WithoutHistory:
    """A policy that is shown no history of its actions, or one in a random order."""

    def __init__(self, policy: VLAPolicy, history: History, seed: int) -> None:
        self._policy, self._history, self._seed = policy, history, seed
        self.profile, self.cameras, self.special_tokens = policy.profile, policy.cameras, policy.special_tokens

    def session(self, execute_horizon: int = 1) -> Session:
        """See `VLAPolicy.session`."""
        return _ChangedHistory(self._policy.session(execute_horizon), self._history, self._seed)


class _ChangedHistory:
    def __init__(self, session: Session, history: History, seed: int) -> None:
        self._session, self._history = session, history
        self._random = np.random.default_rng([seed, 6])

    def reset(self) -> None:
        self._session.reset()

    def step(self, observation: Observation) -> ActionChunk:
        given = observation.history
        if given is not None:
            observation = replace(observation, history=self._changed(given))
        return self._session.step(observation)

    def _changed(self, given: HistoryWindow) -> HistoryWindow:
        if self._history == "off":
            return HistoryWindow(np.zeros_like(given.actions), np.zeros_like(given.valid))
        # The actions of the window change places; those that are not there yet stay where they are.
        actions, places = given.actions.copy(), np.flatnonzero(given.valid)
        actions[places] = given.actions[self._random.permutation(places)]
        return HistoryWindow(actions, given.valid)


@dataclass(frozen=True)
class Row:
    """What came of one condition."""

    name: str
    condition: Condition
    outcomes: Sequence[Outcome]

    @property
    def success(self) -> SuccessRate:
        """How many episodes succeeded."""
        return SuccessRate(sum(outcome.succeeded for outcome in self.outcomes), len(self.outcomes))

    @property
    def steps(self) -> float:
        """Mean steps of those that succeeded; NaN where none did."""
        done = [outcome.steps for outcome in self.outcomes if outcome.succeeded]
        return float(np.mean(done)) if done else float("nan")

    @property
    def latency(self) -> float:
        """Median seconds of an inference."""
        return float(np.median([outcome.latency for outcome in self.outcomes]))


@contextmanager
def runner_of(model: Model, workers: int) -> Iterator[Callable[[Condition, Sequence[int]], Iterator[Outcome]]]:
    """A function that runs episodes of ``model``, in so many processes; outcomes come in the order of the seeds.

    Raises `RenderingError` where this machine cannot draw, and `ModelError` for the model.
    """
    backend = find_backend()
    if workers < 2:
        with Runner(model, backend=backend) as runner:
            yield lambda condition, seeds: (runner.run(condition, seed) for seed in seeds)
        return
    # Not forked: graphics libraries do not survive it.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_one_thread) as pool:
        yield lambda condition, seeds: pool.map(
            _run, [model] * len(seeds), [backend] * len(seeds), [condition] * len(seeds), seeds
        )
        pool.shutdown(cancel_futures=True)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@cache
def _runner(model: Model, backend: str) -> Runner:
    return Runner(model, backend=backend)


def _run(model: Model, backend: str, condition: Condition, seed: int) -> Outcome:
    return _runner(model, backend).run(condition, seed)
