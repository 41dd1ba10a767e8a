"""One episode that the expert labels, with everything that training or an analysis may want of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.sim.closed_loop import ClosedLoop
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
    None where the task has none. ``blocks`` ``(T, 15)``: all of them.
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
    blocks: Array

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
    notes = _Notes(environment)
    executed = []
    while not environment.finished:
        label = notes.take(observation.images)
        executed.append(label if noise is None else noise.disturb(label, random))
        observation = environment.step(executed[-1])
    return notes.rollout(seed, np.array(executed))


def corrected_rollout(loop: ClosedLoop, seed: int, task: Task | None = None, most: int | None = None) -> Rollout:
    """Let a policy do the episode of ``seed``; the labels say what the expert would have done at every step.

    Where a policy gets into, no demonstration may have been (DAgger: Ross et al. 2011, "A Reduction of Imitation
    Learning and Structured Prediction to No-Regret Online Learning"). After ``most`` steps it ends.
    """
    notes = _Notes(loop.robot.environment)
    result = loop.run(seed, task, watch=lambda view: notes.take(view.images), most=most)
    return notes.rollout(seed, result.actions)


class _Notes:
    """What is noted of an environment step by step."""

    def __init__(self, environment: TabletopEnvironment) -> None:
        self._environment = environment
        self._labels: list[Array] = []
        self._states: list[Array] = []
        self._infos: list[Mapping[str, Array | None]] = []
        self._images: list[Mapping[str, NDArray[np.uint8] | None]] = []

    def take(self, images: Mapping[str, NDArray[np.uint8] | None]) -> Array:
        """Note the state of things; return what the expert would do."""
        environment = self._environment
        self._labels.append(expert_action(environment.world, environment.task))
        self._states.append(environment.world.state())
        self._infos.append(environment.info)
        self._images.append(images)
        return self._labels[-1]

    def rollout(self, seed: int, executed: Array) -> Rollout:
        """What has been noted."""
        environment = self._environment
        cameras = [name for name, image in self._images[-1].items() if image is not None]
        return Rollout(
            seed=seed,
            task=environment.task,
            instruction=environment.instruction,
            succeeded=environment.succeeded,
            labels=np.array(self._labels),
            executed=executed,
            states=np.array(self._states),
            images={name: np.array([images[name] for images in self._images]) for name in cameras},
            target=np.array([info["target"] for info in self._infos]),
            base=None if environment.task.base is None else np.array([info["base"] for info in self._infos]),
            blocks=np.array([info["blocks"] for info in self._infos]),
        )
