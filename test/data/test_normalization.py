from __future__ import annotations

import numpy as np
import pytest
from golden_cases import arrays
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as numpy_arrays

from robovlms_ros.data.normalization import (
    ActionNormalizer,
    QuantileNormalizer,
    compress_mu_law,
    expand_mu_law,
    gripper_to_open,
    scale_from_unit,
)
from robovlms_ros.model.errors import ConfigError, ModelError

GOLDEN = arrays("functions")
ACTIONS = GOLDEN["a"]
LIMITS = (-0.65, 0.65)


def assert_close(actual: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(actual, expected, atol=1e-6, rtol=0)


def test_scaling_matches_upstream() -> None:
    assert_close(ActionNormalizer(LIMITS, keep_gripper=False).normalize(ACTIONS), GOLDEN["norm"])
    assert_close(ActionNormalizer(LIMITS).normalize(ACTIONS), GOLDEN["norm_keep"])
    assert_close(ActionNormalizer(LIMITS, keep_gripper=False).denormalize(ACTIONS), GOLDEN["unnorm"])


def test_mu_law_matches_upstream() -> None:
    normalizer = ActionNormalizer(mu=255)
    assert_close(normalizer.normalize(ACTIONS), GOLDEN["mu1"])
    assert_close(normalizer.denormalize(ACTIONS), GOLDEN["imu1"])


def test_over_a_trajectory_only_the_gripper_is_kept() -> None:
    """Upstream keeps the last step of the trajectory instead; elsewhere the numbers are the same."""
    mu, standard = ActionNormalizer(mu=255), ActionNormalizer(mean_std=(0.1, 0.5))
    assert_close(mu.normalize(ACTIONS)[:-1, :-1], GOLDEN["mu2d_upstream_last_row_quirk"][:-1, :-1])
    assert_close(standard.normalize(ACTIONS)[:-1, :-1], GOLDEN["reg"][:-1, :-1])
    for normalizer in (mu, standard):
        result = normalizer.normalize(ACTIONS)
        np.testing.assert_array_equal(result[:, -1], ACTIONS[:, -1])
        assert not np.isclose(result[-1, :-1], ACTIONS[-1, :-1]).any()


steps = numpy_arrays(np.float64, (4, 7), elements=st.floats(-0.5, 0.5))


@given(
    steps,
    st.sampled_from([None, LIMITS, (-0.5, 2.0)]),
    st.sampled_from([None, (0.1, 0.5)]),
    st.sampled_from([None, 1.0, 255.0]),
    st.booleans(),
)
def test_denormalize_undoes_normalize_inside_the_limits(
    actions: np.ndarray,
    limits: tuple[float, float] | None,
    mean_std: tuple[float, float] | None,
    mu: float | None,
    keep_gripper: bool,
) -> None:
    normalizer = ActionNormalizer(limits, mean_std, mu, keep_gripper)
    before = actions.copy()
    np.testing.assert_allclose(normalizer.denormalize(normalizer.normalize(actions)), actions, atol=1e-9)
    np.testing.assert_array_equal(actions, before)


@given(numpy_arrays(np.float64, (3, 7), elements=st.floats(-100, 100)))
def test_normalised_poses_lie_in_the_unit_range(actions: np.ndarray) -> None:
    assert np.abs(ActionNormalizer(LIMITS, mu=255).normalize(actions)[:, :-1]).max() <= 1 + 1e-12


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.1, 1000))
def test_mu_law_keeps_order_sign_and_the_unit_range(first: float, second: float, mu: float) -> None:
    a, b = compress_mu_law([first, second], mu)
    assert (a <= b) == (first <= second) or np.isclose(first, second)
    assert a * first >= 0
    assert abs(a) <= 1 + 1e-12
    np.testing.assert_allclose(expand_mu_law([a, b], mu), [first, second], atol=1e-12)


BRIDGE = {
    "q01": [-0.0287, -0.0417, -0.0261, -0.0809, -0.0929, -0.2072, 0.0],
    "q99": [0.0283, 0.0409, 0.0402, 0.0819, 0.0779, 0.2038, 1.0],
}


def bridge() -> QuantileNormalizer:
    return QuantileNormalizer(np.array(BRIDGE["q01"]), np.array(BRIDGE["q99"]), np.array([True] * 6 + [False]))


@given(st.lists(st.floats(0, 1), min_size=7, max_size=7))
def test_quantiles_round_trip_inside_them(share: list[float]) -> None:
    normalizer = bridge()
    actions = normalizer.q01 + np.array(share) * (normalizer.q99 - normalizer.q01)
    normalized = normalizer.normalize(actions)
    assert np.abs(normalized).max() <= 1
    assert normalized[-1] == actions[-1]
    np.testing.assert_allclose(normalizer.denormalize(normalized), actions, atol=1e-7)


def test_quantiles_are_mapped_to_the_ends_of_the_range_and_outliers_clipped() -> None:
    normalizer = bridge()
    np.testing.assert_allclose(normalizer.normalize(normalizer.q99)[:6], 1, atol=1e-6)
    np.testing.assert_allclose(normalizer.normalize(normalizer.q01)[:6], -1, atol=1e-6)
    np.testing.assert_array_equal(normalizer.normalize(normalizer.q99 + 5)[:6], 1)


def test_statistics_ignore_outliers() -> None:
    actions = np.linspace(-1, 1, 2001)[:, None].repeat(3, axis=1)
    actions[0, 0] = 1e6
    normalizer = QuantileNormalizer.from_actions(actions)
    np.testing.assert_allclose(normalizer.q99[0], 0.98, atol=2e-3)
    assert normalizer.mask.tolist() == [True, True, False]


def test_a_dimension_that_never_moves_is_found_and_becomes_zero() -> None:
    actions = np.random.default_rng(0).normal(size=(50, 4))
    actions[:, 1] = 0.3
    normalizer = QuantileNormalizer.from_actions(actions)
    assert normalizer.constant.tolist() == [False, True, False, False]
    normalized = normalizer.normalize(actions)
    assert not normalized[:, 1].any()
    np.testing.assert_array_equal(normalizer.denormalize(normalized)[:, 1], actions[:, 1])


def test_a_value_that_is_not_finite_is_named() -> None:
    actions = ACTIONS.copy()
    actions[2, 3] = np.nan
    for normalizer in (ActionNormalizer(LIMITS), QuantileNormalizer.from_actions(ACTIONS)):
        with pytest.raises(ModelError, match=r"1 action values.*\(2, 3\)"):
            normalizer.normalize(actions)
        with pytest.raises(ModelError, match=r"\(2, 3\)"):
            normalizer.denormalize(actions)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="norm_min must be below norm_max"):
        ActionNormalizer((1.0, 1.0))
    with pytest.raises(ConfigError, match="x_std"):
        ActionNormalizer(mean_std=(0.0, 0.0))
    with pytest.raises(ConfigError, match="mu_val"):
        ActionNormalizer(mu=0.0)
    with pytest.raises(ConfigError, match=r"dimensions \[1\]"):
        QuantileNormalizer(np.zeros(2), np.array([1.0, -1.0]), np.ones(2, np.bool_))
    with pytest.raises(ConfigError, match="one length"):
        QuantileNormalizer(np.zeros(2), np.zeros(3), np.ones(2, np.bool_))
    with pytest.raises(ModelError, match=r"\(steps, action_dim\)"):
        QuantileNormalizer.from_actions(np.zeros((0, 7)))


def test_only_a_full_opening_command_counts_as_open() -> None:
    np.testing.assert_array_equal(gripper_to_open([-1, 0, 0.5, 1]), [0, 0, 0, 1])


def test_bounds_may_differ_per_dimension() -> None:
    np.testing.assert_allclose(scale_from_unit([-1, 0, 1], [0, 0, 0], [1, 2, 3]), [0, 1, 3])
