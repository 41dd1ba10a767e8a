from __future__ import annotations

import numpy as np
import pytest
from golden_cases import arrays
from hypothesis import given
from hypothesis import strategies as st

from robovlms_ros.data.windows import chunks, episode_windows, observed_frames, segment_windows
from robovlms_ros.model.errors import ConfigError

GOLDEN = arrays("functions")


@pytest.mark.parametrize(
    ("sampling", "left_pad", "window", "chunk"),
    [("sliding", 0, 3, 2), ("sliding", 1, 3, 2), ("range", 1, 3, 2), ("range", 0, 2, 3)],
)
def test_episode_windows_match_upstream(sampling: str, left_pad: int, window: int, chunk: int) -> None:
    windows = episode_windows(6, window, chunk, sampling=sampling, left_pad=bool(left_pad))
    name = f"chunk_{sampling}_{left_pad}_{window}_{chunk}"
    np.testing.assert_array_equal(windows.frames + 100, GOLDEN[f"{name}_idx"])
    np.testing.assert_array_equal(windows.mask, GOLDEN[f"{name}_mask"])


def test_chunks_match_upstream() -> None:
    np.testing.assert_array_equal(chunks(GOLDEN["gen_chunk_in"], 4, 2), GOLDEN["gen_chunk_out"])


sizes = st.tuples(st.integers(1, 30), st.integers(1, 6), st.integers(1, 6))


@given(sizes, st.integers(0, 50), st.integers(1, 4))
def test_segment_windows_follow_calvins_rule(sizes: tuple[int, int, int], start: int, skip: int) -> None:
    length, window, chunk = sizes
    end = start + length
    windows = segment_windows(start, end, window, chunk, skip)
    assert windows.frames.shape == windows.mask.shape
    expected = [first for first in range(start, end + 1 - window) if (first - start) % skip == 0]
    assert len(windows.frames) == len(expected)
    for first, frames, mask in zip(expected, windows.frames, windows.mask, strict=True):
        whole = list(range(first, first + window + chunk))
        assert frames.tolist() == [min(frame, end) for frame in whole]
        assert mask.tolist() == [frame < end for frame in whole]
        assert mask[:window].all()


def test_a_segment_shorter_than_the_window_gives_none() -> None:
    assert segment_windows(10, 13, 4, 2).frames.shape == (0, 6)
    assert len(segment_windows(10, 14, 4, 2).frames) == 1


@given(sizes, st.booleans())
def test_sliding_windows_end_at_every_frame(sizes: tuple[int, int, int], left_pad: bool) -> None:
    length, window, chunk = sizes
    windows = episode_windows(length, window, chunk, left_pad=left_pad)
    first = 0 if left_pad else window - 1
    assert windows.frames[:, window - 1].tolist() == list(range(first, length))
    wanted = windows.frames[:, window - 1 : window] + np.arange(1 - window, chunk + 1)
    np.testing.assert_array_equal(windows.mask, (wanted >= 0) & (wanted < length))
    np.testing.assert_array_equal(windows.frames[windows.mask], wanted[windows.mask])
    assert ((windows.frames >= 0) & (windows.frames < length)).all()


@given(sizes)
def test_range_windows_hide_more_and_more_of_the_history(sizes: tuple[int, int, int]) -> None:
    length, window, chunk = sizes
    sliding = episode_windows(length, window, chunk, left_pad=True)
    windows = episode_windows(length, window, chunk, sampling="range", left_pad=True)
    assert len(windows.frames) == window * len(sliding.frames)
    for number, (frames, mask) in enumerate(zip(windows.frames, windows.mask, strict=True)):
        step, hidden = divmod(number, window)
        np.testing.assert_array_equal(frames, sliding.frames[step])
        assert not mask[:hidden].any()
        np.testing.assert_array_equal(mask[hidden:], sliding.mask[step, hidden:])


@given(sizes, st.sampled_from(["sliding", "range"]))
def test_observed_frames_repeat_the_first_real_one(sizes: tuple[int, int, int], sampling: str) -> None:
    length, window, chunk = sizes
    windows = episode_windows(length, window, chunk, sampling=sampling, left_pad=True)
    observed = observed_frames(windows, window)
    for frames, mask, seen in zip(windows.frames, windows.mask, observed, strict=True):
        real = frames[:window][mask[:window]]
        assert seen.tolist() == [real[0]] * (window - len(real)) + real.tolist()


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2))
def test_a_chunk_starts_with_the_current_action(window: int, chunk: int, spare: int) -> None:
    actions = np.arange(2 * (window + chunk - 1 + spare) * 3).reshape(2, -1, 3)
    result = chunks(actions, window, chunk)
    assert result.shape == (2, window, chunk, 3)
    for step in range(window):
        np.testing.assert_array_equal(result[:, step], actions[:, step : step + chunk])


def test_too_few_steps_for_the_chunks_are_refused() -> None:
    with pytest.raises(ConfigError, match="needs 5 steps, got 4"):
        chunks(np.zeros((4, 7)), 4, 2)


@pytest.mark.parametrize(("window", "chunk"), [(0, 1), (1, 0)])
def test_empty_windows_are_refused(window: int, chunk: int) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        segment_windows(0, 9, window, chunk)
    with pytest.raises(ConfigError, match="at least 1"):
        episode_windows(9, window, chunk)


def test_skipping_backwards_is_refused() -> None:
    with pytest.raises(ConfigError, match="skip_frames"):
        segment_windows(0, 9, 2, 2, skip_frames=0)
