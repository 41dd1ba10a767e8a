from __future__ import annotations

import golden_cases
import numpy as np

from robovlms_ros.policy.action_range import ActionRange

FUNCTIONS = golden_cases.arrays("functions")
BOUNDS = (-0.65, 0.65)


def test_the_training_range_matches_upstream() -> None:
    action = FUNCTIONS["a"]
    inside = np.clip(action, *BOUNDS)
    np.testing.assert_allclose(ActionRange(BOUNDS).normalize(inside), FUNCTIONS["norm"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(ActionRange(BOUNDS).denormalize(action), FUNCTIONS["unnorm"], rtol=0, atol=1e-9)


def test_the_mu_law_matches_upstream() -> None:
    mu_law = ActionRange(mu=255)
    np.testing.assert_allclose(mu_law.normalize(FUNCTIONS["a"])[:, :6], FUNCTIONS["mu1"][:, :6], rtol=0, atol=1e-9)
    np.testing.assert_allclose(
        mu_law.denormalize(FUNCTIONS["a"])[:, :6], FUNCTIONS["imu1"][:, :6], rtol=0, atol=1e-9
    )


def test_standardisation_matches_upstream() -> None:
    standard = ActionRange(standard=(0.1, 0.5))
    # Upstream leaves the last row out by a slip of its index.
    np.testing.assert_allclose(standard.normalize(FUNCTIONS["a"])[:-1], FUNCTIONS["reg"][:-1], rtol=0, atol=1e-9)


def test_stages_are_undone_in_reverse() -> None:
    stages = ActionRange(BOUNDS, (0.1, 0.5), 255.0)
    pose = np.linspace(-0.6, 0.6, 12).reshape(2, 6)
    np.testing.assert_allclose(stages.denormalize(stages.normalize(pose)), pose, atol=1e-12)
