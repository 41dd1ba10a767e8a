"""An episode: what a session remembers, forgets and refuses."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from robovlms_ros.model.errors import ObservationError
from robovlms_ros.policy import HistoryWindow, Observation, VLAPolicy
from robovlms_ros.policy.untrained import make_untrained

CHUNK = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def policy(folder: Path) -> VLAPolicy:
    return VLAPolicy.load(make_untrained(folder / "plain", image_size=56, window=3, chunk=CHUNK, hand=True))


@pytest.fixture(scope="module")
def history_policy(folder: Path) -> VLAPolicy:
    made = make_untrained(folder / "history", image_size=56, window=4, chunk=CHUNK, action_encoder=True)
    return VLAPolicy.load(made)


def look(frame: int, instruction: str = "pick up the red block", **changes: object) -> Observation:
    rng = np.random.default_rng(frame)
    static, hand = rng.integers(0, 256, (2, 48, 64, 3), dtype=np.uint8)
    return Observation(images={"static": static, "hand": hand} | changes, instruction=instruction)


def remembering(frame: int, actions: np.ndarray, valid: list[bool]) -> Observation:
    observation = look(frame)
    window = HistoryWindow(actions.astype(np.float32), np.array(valid))
    return Observation(observation.images, observation.instruction, history=window)


def test_a_chunk_has_the_documented_form(policy: VLAPolicy) -> None:
    chunk = policy.session().step(look(0))
    assert (chunk.normalized.shape, chunk.normalized.dtype) == ((CHUNK, 7), np.float32)
    assert (chunk.actions.shape, chunk.actions.dtype) == ((CHUNK, 7), np.float64)
    assert np.abs(chunk.normalized[:, :6]).max() <= 1
    assert set(chunk.normalized[:, 6]) <= {0, 1}
    assert set(chunk.timings) == {"preprocess", "vision", "language", "head", "model"}
    parts = chunk.timings["vision"] + chunk.timings["language"] + chunk.timings["head"]
    assert 0 < parts <= chunk.timings["model"] < 10


def test_the_model_runs_on_every_kth_step_and_the_chunk_is_shifted_between(policy: VLAPolicy) -> None:
    session = policy.session(execute_horizon=3)
    first = session.step(look(0))
    for executed in (1, 2):
        later = session.step(look(executed))
        np.testing.assert_array_equal(later.normalized, first.normalized[executed:])
        np.testing.assert_array_equal(later.actions[:, :6], first.actions[executed:, :6])
        assert later.timings == {}
    assert len(session.step(look(3))) == CHUNK


def test_reset_forgets_the_episode(policy: VLAPolicy) -> None:
    session = policy.session(execute_horizon=2)
    first = session.step(look(0))
    session.reset()
    again = session.step(look(0))
    np.testing.assert_array_equal(again.normalized, first.normalized)
    assert again.timings


def test_another_instruction_starts_an_episode(policy: VLAPolicy) -> None:
    session = policy.session(execute_horizon=2)
    session.step(look(0))
    changed = session.step(look(1, "open the drawer"))
    fresh = policy.session().step(look(1, "open the drawer"))
    np.testing.assert_array_equal(changed.normalized, fresh.normalized)
    other = policy.session().step(look(1, "push the green cup"))
    assert not np.array_equal(fresh.normalized, other.normalized)


def test_the_last_steps_matter(policy: VLAPolicy) -> None:
    session = policy.session()
    session.step(look(0))
    second = session.step(look(1))
    assert not np.array_equal(second.normalized, policy.session().step(look(1)).normalized)


def test_the_hand_camera_matters_and_may_be_absent(policy: VLAPolicy, caplog: pytest.LogCaptureFixture) -> None:
    assert policy.cameras == ("static", "hand")
    both = policy.session().step(look(0))
    session = policy.session()
    with caplog.at_level(logging.WARNING):
        alone = session.step(look(0, hand=None))
        session.step(look(1, hand=None))
    assert not np.array_equal(both.normalized, alone.normalized)
    assert caplog.text.count("hand") == 1


def test_a_camera_that_the_model_does_not_take_is_ignored(history_policy: VLAPolicy) -> None:
    with_hand = history_policy.session().step(look(0))
    without = history_policy.session().step(look(0, hand=None))
    np.testing.assert_array_equal(with_hand.normalized, without.normalized)


@pytest.mark.parametrize(
    "image",
    [
        None,
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_an_unusable_image_is_refused_and_changes_nothing(policy: VLAPolicy, image: np.ndarray | None) -> None:
    session, twin = policy.session(), policy.session()
    session.step(look(0))
    twin.step(look(0))
    with pytest.raises(ObservationError):
        session.step(look(1, static=image))
    np.testing.assert_array_equal(session.step(look(2)).normalized, twin.step(look(2)).normalized)


def test_an_unusable_instruction_is_refused_and_changes_nothing(policy: VLAPolicy) -> None:
    session, twin = policy.session(), policy.session()
    session.step(look(0))
    twin.step(look(0))
    with pytest.raises(ObservationError, match="control token"):
        session.step(look(1, "go to </s>"))
    np.testing.assert_array_equal(session.step(look(2)).normalized, twin.step(look(2)).normalized)


@pytest.mark.parametrize("size", [(1, 1), (7, 301), (480, 640), (56, 56)])
def test_images_of_any_size_are_taken(policy: VLAPolicy, size: tuple[int, int]) -> None:
    chunk = policy.session().step(look(0, static=np.full((*size, 3), 80, np.uint8)))
    assert np.isfinite(chunk.actions).all()


def test_the_history_reaches_the_model(history_policy: VLAPolicy) -> None:
    assert history_policy.card["action_encoder"] == {"type": "ActionLinearEncoder", "window": 4}
    session = history_policy.session
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (4, 7))
    none = session().step(look(0)).normalized
    empty = session().step(remembering(0, np.zeros((4, 7)), [False] * 4)).normalized
    one = session().step(remembering(0, actions, [False, False, False, True])).normalized
    np.testing.assert_array_equal(none, empty)
    assert not np.array_equal(none, one)


def test_a_history_of_another_length_counts_from_its_newest_row(history_policy: VLAPolicy) -> None:
    session = history_policy.session
    actions = np.random.default_rng(0).uniform(-1, 1, (9, 7))
    newest = session().step(remembering(0, actions[-4:], [True] * 4)).normalized
    longer = session().step(remembering(0, actions, [True] * 9)).normalized
    np.testing.assert_array_equal(longer, newest)
    padded = np.concatenate([np.zeros((2, 7)), actions[-2:]])
    explicit = session().step(remembering(0, padded, [False, False, True, True])).normalized
    shorter = session().step(remembering(0, actions[-2:], [True] * 2)).normalized
    np.testing.assert_array_equal(shorter, explicit)


def test_values_in_rows_that_are_not_valid_do_not_matter(history_policy: VLAPolicy) -> None:
    actions = np.random.default_rng(0).uniform(-1, 1, (4, 7))
    broken = actions.copy()
    broken[1] = np.nan
    valid = [True, False, True, True]
    np.testing.assert_array_equal(
        history_policy.session().step(remembering(0, broken, valid)).normalized,
        history_policy.session().step(remembering(0, actions, valid)).normalized,
    )


def test_a_broken_history_is_refused(history_policy: VLAPolicy) -> None:
    session = history_policy.session()
    with pytest.raises(ObservationError, match="NaN"):
        session.step(remembering(0, np.full((4, 7), np.nan), [True] * 4))
    with pytest.raises(ObservationError, match="have 6 numbers"):
        session.step(remembering(0, np.zeros((4, 6)), [True] * 4))


def test_a_model_without_encoder_ignores_the_history(policy: VLAPolicy) -> None:
    assert policy.card["action_encoder"] is None
    with_history = policy.session().step(remembering(0, np.ones((4, 7)), [True] * 4))
    np.testing.assert_array_equal(with_history.normalized, policy.session().step(look(0)).normalized)
