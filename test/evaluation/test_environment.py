"""Rollouts and success rates, in an environment whose rules can be seen at a glance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robovlms_ros.evaluation.environment import Rollout, SICommander, SuccessRate, run_seed
from robovlms_ros.policy.null_policy import NullPolicy
from robovlms_ros.policy.types import Observation


class Countdown:
    """Solved after as many steps as the seed says; remembers the actions."""

    def __init__(self, patience: int = 100) -> None:
        self.actions: list[np.ndarray] = []
        self._patience = patience

    def reset(self, seed: int) -> Observation:
        self._left, self._steps = seed, 0
        return self._look()

    def step(self, action: np.ndarray) -> Observation:
        self.actions.append(action)
        self._steps += 1
        return self._look()

    def _look(self) -> Observation:
        return Observation({"static": np.zeros((8, 8, 3), np.uint8)}, f"wait {self._left}")

    @property
    def succeeded(self) -> bool:
        return self._steps == self._left

    @property
    def finished(self) -> bool:
        return self.succeeded or self._steps >= self._patience


def attempt(environment: Countdown, seed: int, max_steps: int = 50) -> Rollout:
    policy = NullPolicy(chunk=3)
    return run_seed(policy.session(), environment, SICommander(policy.profile.to_si), seed, max_steps)


def test_a_rollout_ends_with_success_and_says_after_how_many_steps() -> None:
    found = attempt(Countdown(), 7)
    assert (found.succeeded, found.steps, found.seed, found.instruction) == (True, 7, 7, "wait 7")


def test_a_rollout_ends_when_steps_run_out_or_the_environment_has_finished() -> None:
    assert (attempt(Countdown(), 7, max_steps=5).succeeded, attempt(Countdown(), 7, max_steps=5).steps) == (
        False,
        5,
    )
    found = attempt(Countdown(patience=3), 7)
    assert (found.succeeded, found.steps) == (False, 3)


def test_every_rollout_is_an_episode_of_its_own() -> None:
    environment, policy = Countdown(), NullPolicy()
    session, commander = policy.session(), SICommander(policy.profile.to_si)
    for _ in range(2):
        run_seed(session, environment, commander, 4, 50)
    np.testing.assert_array_equal(environment.actions[:4], environment.actions[4:])


@given(st.integers(0, 100), st.integers(1, 100))
def test_the_interval_holds_the_rate_and_narrows_with_attempts(successes: int, attempts: int) -> None:
    few = SuccessRate(min(successes, attempts), attempts)
    low, high = few.interval
    assert 0 <= low <= few.rate <= high <= 1
    many = SuccessRate(few.successes * 100, attempts * 100).interval
    assert many[1] - many[0] < high - low


def test_the_interval_is_wilsons() -> None:
    # Agresti and Coull (1998) give 10 of 10 as 72 % to 100 %.
    assert SuccessRate(10, 10).interval == pytest.approx((0.722, 1.0), abs=1e-3)
    assert str(SuccessRate(50, 100)) == "50/100 (40% to 60%)"
    assert SuccessRate(0, 0).interval == (0.0, 1.0)
