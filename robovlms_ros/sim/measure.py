"""Figures of the simulator: how often the expert succeeds, and how fast images come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from robovlms_ros.sim.environment import TabletopEnvironment
from robovlms_ros.sim.expert import Noise
from robovlms_ros.sim.rollout import expert_rollout
from robovlms_ros.sim.tasks import Family

STAY = np.array([0, 0, 0, 0, 0, 0, 1.0])


@dataclass(frozen=True)
class ExpertFigures:
    """``steps`` of the successful episodes; ``failed``: the seeds of the others."""

    family: Family
    steps: list[int]
    failed: list[int]

    @property
    def episodes(self) -> int:
        """How many were tried."""
        return len(self.steps) + len(self.failed)


def measure_expert(
    family: Family,
    seeds: Iterable[int],
    noise: Noise | None = None,
    on_episode: Callable[[], None] = lambda: None,
) -> ExpertFigures:
    """Let the expert do the episodes of ``seeds``, without images."""
    figures = ExpertFigures(family, [], [])
    environment = TabletopEnvironment(family, image_size=None)
    for seed in seeds:
        rollout = expert_rollout(environment, seed, noise=noise)
        if rollout.succeeded:
            figures.steps.append(len(rollout))
        else:
            figures.failed.append(seed)
        on_episode()
    return figures


@dataclass(frozen=True)
class Speed:
    """``steps_per_second`` as they came, and what each cost, which depends less on what else the machine does."""

    steps_per_second: float
    cpu_ms_per_step: float


def measure_speed(image_size: int | None, seconds: float = 3.0) -> Speed:
    """Control steps with both cameras at ``image_size``, or without images."""
    with TabletopEnvironment("pick", image_size) as environment:
        environment.reset(0)
        environment.observe()
        started, used, steps = time.perf_counter(), time.process_time(), 0
        while (passed := time.perf_counter() - started) < seconds:
            if environment.finished:
                environment.reset(steps)
            environment.step(STAY)
            steps += 1
        used = time.process_time() - used
    return Speed(steps / passed, 1000 * used / steps)
