from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from golden_backbones import tokenizer
from golden_cases import arrays
from hypothesis import given
from hypothesis import strategies as st

from robovlms_ros.model.errors import ConfigError, ModelError
from robovlms_ros.model.policy_head.action_tokenizer import ActionTokenizer


def make(n_bin: int = 256, minimum: float = -1.0, maximum: float = 1.0, vocabulary: int = 1000) -> ActionTokenizer:
    words = SimpleNamespace(
        vocab_size=vocabulary, special_tokens_map={"eos_token": "</s>", "extra": ["<a>", "<b>"]}
    )
    return ActionTokenizer(words, n_bin, minimum, maximum)


def test_matches_upstream() -> None:
    golden = arrays("kosmos_discrete")
    real = ActionTokenizer(tokenizer("kosmos2_tiny_untied"))
    _, _, original, begin, end, n_bin = golden["tok_meta"]
    assert (real.end_id, real.begin_id, real.end_id, real.n_bin) == (original, begin, end, n_bin)
    np.testing.assert_array_equal(real.encode(golden["enc_in"]), golden["enc_ids"])
    np.testing.assert_array_equal(real.decode(golden["enc_ids"]), golden["dec_out"])
    np.testing.assert_array_equal(real.decode(golden["dec_all_ids"]), golden["dec_all"])


def test_a_list_of_special_tokens_counts_each_of_them() -> None:
    assert make(vocabulary=1000).end_id == 1000 - 3 - 10


bounds = st.tuples(st.floats(-5, 0.5), st.floats(1, 5))


@given(st.integers(2, 400), bounds, st.lists(st.floats(-10, 10), min_size=1))
def test_a_value_comes_back_within_half_a_bin(
    n_bin: int, limits: tuple[float, float], values: list[float]
) -> None:
    words = make(n_bin, *limits)
    ids = words.encode(values)
    assert words.is_action(ids).all()
    half = (limits[1] - limits[0]) / (n_bin - 1) / 2
    assert np.abs(words.decode(ids) - np.clip(values, *limits)).max() <= half + 1e-9


@given(st.integers(3, 400))
def test_every_action_id_but_the_maximums_own_comes_back(n_bin: int) -> None:
    words = make(n_bin)
    ids = np.arange(words.begin_id + 1, words.end_id)
    np.testing.assert_array_equal(words.encode(words.decode(ids))[1:], ids[1:])
    assert words.encode(1.0) == ids[0]


@given(st.lists(st.floats(-1, 1), min_size=2))
def test_a_larger_value_never_has_a_larger_id(values: list[float]) -> None:
    assert (np.diff(make().encode(sorted(values))) <= 0).all()


def test_other_tokens_count_as_the_nearest_action() -> None:
    words = make()
    np.testing.assert_array_equal(words.decode([0, 10**6]), [words.centers[-1], words.centers[0]])


def test_shapes_are_kept() -> None:
    ids = make().encode(np.zeros((2, 3, 7)))
    assert ids.shape == (2, 3, 7)
    assert make().decode(ids).shape == (2, 3, 7)


def test_nan_is_refused() -> None:
    with pytest.raises(ModelError, match="NaN"):
        make().encode([0.0, float("nan")])


def test_a_vocabulary_too_small_for_the_bins_is_refused() -> None:
    assert make(n_bin=87, vocabulary=100).begin_id == -1
    with pytest.raises(ConfigError, match="87 tokens to spare"):
        make(n_bin=88, vocabulary=100)


@pytest.mark.parametrize(("n_bin", "low", "high"), [(1, -1.0, 1.0), (256, 1.0, -1.0), (256, 1.0, 1.0)])
def test_impossible_bins_are_refused(n_bin: int, low: float, high: float) -> None:
    with pytest.raises(ConfigError, match="n_bin"):
        make(n_bin, low, high)
