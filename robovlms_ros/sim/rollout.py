"""One episode of the expert, with everything that training or an analysis may want of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.policy.types import Observation
from robovlms_ros.sim.environment import TabletopEnvironment
from robovlms_ros.sim.expert import Noise, expert_action
from robovlms_ros.sim.tasks import Task

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Rollout:
    """``T`` steps; row ``t`` of every array belongs to observation ``t``, before its action.

    ``labels`` ``(T, 7)`` is what the expert wanted, ``executed`` ``(T, 7)`` what was done, noise included, both in
    SI units. ``states`` ``(T, 7)``. ``images``: ``(T, S, S, 3)`` RGB per camera, none where nothing was drawn.
    ``target`` and ``base`` ``(T, 5)``: the named blocks from the tool, see `TabletopEnvironment.info`; ``base`` is
    None where the task has none.
    """

    seed: int
    task: Task
    instruction: str
    succeeded: bool
    labels: Array
    executed: Array
    states: Array
    images: Mapping[str, NDArray[np.uint8]]
    target: Array
    base: Array | None

    def __len__(self) -> int:
        return len(self.labels)


def expert_rollout(
    environment: TabletopEnvironment,
    seed: int,
    task: Task | None = None,
    noise: Noise | None = None,
    attempt: int = 0,
) -> Rollout:
    """Let the expert do the episode of ``seed``. With ``noise`` every ``attempt`` is disturbed in its own way."""
    random = np.random.default_rng([seed, 4, attempt])
    observation = environment.reset(seed, task)
    observations: list[Observation] = []
    labels, executed, infos = [], [], []
    while not environment.finished:
        label = expert_action(environment.world, environment.task)
        action = label if noise is None else noise.disturb(label, random)
        observations.append(observation)
        infos.append(environment.info)
        labels.append(label)
        executed.append(action)
        observation = environment.step(action)
    cameras = [name for name, image in observation.images.items() if image is not None]
    return Rollout(
        seed=seed,
        task=environment.task,
        instruction=environment.instruction,
        succeeded=environment.succeeded,
        labels=np.array(labels),
        executed=np.array(executed),
        states=np.array([step.state for step in observations]),
        images={name: np.array([step.images[name] for step in observations]) for name in cameras},
        target=np.array([info["target"] for info in infos]),
        base=None if environment.task.base is None else np.array([info["base"] for info in infos]),
    )
