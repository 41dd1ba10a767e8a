from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from robovlms_ros.data.episodes import ArrayEpisode, MemorySource
from robovlms_ros.data.errors import DataError
from robovlms_ros.data.normalization import QuantileNormalizer
from robovlms_ros.data.rotations import axis_angle_to_rpy
from robovlms_ros.data.statistics import action_statistics, quantiles_for_profile

Made = Callable[..., ArrayEpisode]


def test_the_numbers_are_those_of_all_steps(make_episode: Made) -> None:
    source = MemorySource("made", [make_episode(number, steps=40 + number) for number in range(3)])
    rows = np.concatenate([episode.actions for episode in source.episodes])
    found = action_statistics(source)
    expected = QuantileNormalizer.from_actions(rows)
    np.testing.assert_allclose(found.q01, expected.q01, rtol=0, atol=1e-15)
    np.testing.assert_allclose(found.q99, expected.q99, rtol=0, atol=1e-15)
    np.testing.assert_allclose(found.mean, rows.mean(axis=0))
    np.testing.assert_allclose(found.std, rows.std(axis=0))
    np.testing.assert_array_equal([found.min, found.max], [rows.min(axis=0), rows.max(axis=0)])
    assert found.lengths.tolist() == [40, 41, 42]
    assert (found.shorter_than(41), found.degenerate) == (1, [])


def test_rotations_are_counted_as_models_predict_them(make_episode: Made) -> None:
    episode = make_episode(1, steps=50)
    found = action_statistics(MemorySource("made", [episode], "axis_angle"))
    rpy = axis_angle_to_rpy(episode.actions[:, 3:6])
    np.testing.assert_allclose(found.max[3:6], rpy.max(axis=0))


def still(make_episode: Made, *dimensions: int) -> MemorySource:
    actions = make_episode(0, steps=30).actions.copy()
    actions[:, list(dimensions)] = 0.25
    images = {"static": np.zeros((30, 2, 2, 3), np.uint8)}
    return MemorySource("still", [make_episode(0, steps=30, actions=actions, images=images)])


def test_dimensions_that_did_not_move_are_named_with_the_cure(make_episode: Made) -> None:
    found = action_statistics(still(make_episode, 2, 4))
    assert found.degenerate == [2, 4]
    with pytest.raises(DataError, match=r"z \(0.25 to 0.25\), pitch \(0.25 to 0.25\).*--smallest-range"):
        quantiles_for_profile(found)
    q01, q99 = quantiles_for_profile(found, smallest_range=0.001)
    np.testing.assert_allclose([q01[2], q99[2]], [0.2495, 0.2505])
    np.testing.assert_array_equal(q01[0], found.q01[0])


def test_a_gripper_that_never_moved_is_no_fault_of_the_statistics(make_episode: Made) -> None:
    found = action_statistics(still(make_episode, 6))
    assert found.degenerate == []
    quantiles_for_profile(found)
