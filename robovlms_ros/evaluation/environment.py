"""A policy in a closed loop: what an environment is, one rollout in it, and how many of many succeed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.policy.types import ActionChunk, Observation, Session

# Two-sided 95 % of a normal distribution.
Z95 = 1.96


class Environment(Protocol):
    """One task at a time, from a seed to its end; the same seed and actions give the same observations."""

    def reset(self, seed: int) -> Observation:
        """Begin a task and look at it."""

    def step(self, action: NDArray[np.float64]) -> Observation:
        """Execute one action, ``(7,)`` in the environment's own units, and look again."""

    @property
    def succeeded(self) -> bool:
        """Whether the task is solved, as the world is now."""

    @property
    def finished(self) -> bool:
        """Whether the episode is over, solved or not."""


class Commander(Protocol):
    """From a prediction to the action that an environment takes; may remember the episode."""

    def reset(self) -> None:
        """Begin an episode."""

    def action(self, chunk: ActionChunk) -> NDArray[np.float64]:
        """Return the ``(7,)`` action that row 0 of ``chunk`` means."""


class SICommander:
    """For environments that take metres, radians and a gripper opening. ``to_si`` is the robot profile's."""

    def __init__(self, to_si: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> None:
        self._to_si = to_si

    def reset(self) -> None:
        """Nothing is remembered."""

    def action(self, chunk: ActionChunk) -> NDArray[np.float64]:
        """Return row 0 in SI units."""
        action: NDArray[np.float64] = self._to_si(chunk.actions)[0]
        return action


@dataclass(frozen=True)
class Rollout:
    """One attempt: ``seconds`` of it were spent in the policy."""

    seed: int
    instruction: str
    succeeded: bool
    steps: int
    seconds: float


def rollout(
    session: Session, environment: Environment, commander: Commander, observation: Observation, max_steps: int
) -> tuple[bool, int, float]:
    """Act from ``observation`` on until the environment has finished, at most ``max_steps`` steps.

    The session and the commander start an episode here. Returns success at the end, steps, and seconds in the
    policy.
    """
    session.reset()
    commander.reset()
    seconds = 0.0
    for step in range(max_steps):
        started = time.perf_counter()
        chunk = session.step(observation)
        seconds += time.perf_counter() - started
        observation = environment.step(commander.action(chunk))
        if environment.finished:
            return environment.succeeded, step + 1, seconds
    return environment.succeeded, max_steps, seconds


def run_seed(
    session: Session, environment: Environment, commander: Commander, seed: int, max_steps: int
) -> Rollout:
    """Reset ``environment`` to ``seed`` and roll out one episode in it."""
    observation = environment.reset(seed)
    succeeded, steps, seconds = rollout(session, environment, commander, observation, max_steps)
    return Rollout(seed, observation.instruction, succeeded, steps, seconds)


@dataclass(frozen=True)
class SuccessRate:
    """``successes`` of ``attempts``, with the 95 % interval of Wilson (1927), which holds near 0 and 1, too."""

    successes: int
    attempts: int

    @classmethod
    def of(cls, rollouts: Sequence[Rollout]) -> SuccessRate:
        """Count the successes."""
        return cls(sum(each.succeeded for each in rollouts), len(rollouts))

    @property
    def rate(self) -> float:
        """Share of successes; NaN of no attempts."""
        return self.successes / self.attempts if self.attempts else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Bounds of the true rate."""
        if not self.attempts:
            return 0.0, 1.0
        n, rate, z2 = self.attempts, self.rate, Z95**2
        centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
        half = Z95 / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
        # Rounding must not part the bounds from a rate of 0 or 1.
        return max(0.0, min(rate, centre - half)), min(1.0, max(rate, centre + half))

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.successes}/{self.attempts} ({low:.0%} to {high:.0%})"
