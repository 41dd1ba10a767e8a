"""Windows of episodes: frames, labels, masks, history, states, augmentation, and images that cannot be read."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from reference import make_model
from training_sets import CALVIN, make_dataset, make_episode, make_source

from robovlms_ros.data.episodes import ArrayEpisode, MemorySource
from robovlms_ros.data.errors import DataError
from robovlms_ros.model.discrete_prompt import IGNORED_LABEL
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.policy.history import ActionHistoryRing
from robovlms_ros.train.batch import Batch, Collate, Sample
from robovlms_ros.train.order import SampleKey
from robovlms_ros.train.window_dataset import WindowDataset, WindowSettings

# The reference model has W = 3 and N = 2.
W, N = 3, 2


def all_samples(dataset: WindowDataset, seed: int | None = None) -> list[Sample]:
    return [dataset[SampleKey(window, seed)] for window in range(len(dataset))]


def source_of(*lengths: int) -> MemorySource:
    return make_source(steps=lengths)


def labels_of(dataset: WindowDataset, episode: int) -> NDArray[np.float32]:
    starts = dataset.table.starts
    return dataset.table.labels[starts[episode] : starts[episode + 1]]


def test_every_window_begins_a_step_later_and_looks_a_chunk_ahead() -> None:
    dataset = make_dataset(make_model("kosmos"), source_of(5, 4))
    assert len(dataset) == 3 + 2
    seen = [(sample.episode, sample.steps.tolist()) for sample in all_samples(dataset)]
    assert seen == [(0, [0, 1, 2]), (0, [1, 2, 3]), (0, [2, 3, 4]), (1, [0, 1, 2]), (1, [1, 2, 3])]
    for sample in all_samples(dataset):
        labels = labels_of(dataset, sample.episode)
        for position, step in enumerate(sample.steps.tolist()):
            for ahead in range(N):
                inside = step + ahead < len(labels)
                assert bool(sample.mask[position, ahead]) == inside
                if inside:
                    np.testing.assert_array_equal(sample.pose[position, ahead], labels[step + ahead, :6])
                    assert sample.gripper is not None
                    assert sample.gripper[position, ahead] == labels[step + ahead, 6]


def test_images_are_those_of_the_steps_seen() -> None:
    source = make_source(1, 5, cameras=("static", "hand"))
    dataset = make_dataset(make_model("kosmos", use_hand_rgb=True), source)
    for sample in all_samples(dataset):
        for position, step in enumerate(sample.steps.tolist()):
            for camera, images in (("static", sample.static), ("hand", sample.hand)):
                expected = torch.from_numpy(source.episodes[0].image(camera, step)).permute(2, 0, 1)
                assert images is not None
                assert torch.equal(images[position], expected)


def test_left_padding_repeats_the_first_frame_and_masks_the_actions_before_it() -> None:
    dataset = make_dataset(make_model("kosmos"), source_of(4), WindowSettings(left_pad=True))
    samples = all_samples(dataset)
    assert [sample.steps.tolist() for sample in samples] == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3]]
    # Position 0 of the first window stands for step -2, which looks as far as step -1.
    assert samples[0].mask.tolist() == [[False, False], [False, True], [True, True]]
    assert samples[1].mask.tolist() == [[False, True], [True, True], [True, True]]
    assert samples[3].mask.tolist() == [[True, True], [True, True], [True, False]]
    assert torch.equal(samples[0].static[0], samples[0].static[2])


def test_range_sampling_shows_every_length_of_history() -> None:
    settings = WindowSettings(sampling="range", left_pad=True)
    dataset = make_dataset(make_model("kosmos"), source_of(4), settings)
    assert len(dataset) == 4 * W
    assert [sample.steps.tolist() for sample in all_samples(dataset)[-W:]] == [[1, 2, 3], [2, 2, 3], [3, 3, 3]]


def test_skipped_windows_are_every_so_manieth() -> None:
    dataset = make_dataset(make_model("kosmos"), source_of(7, 4), WindowSettings(skip=2))
    first = [(sample.episode, int(sample.steps[0])) for sample in all_samples(dataset)]
    assert first == [(0, 0), (0, 2), (0, 4), (1, 0)]


def test_an_episode_shorter_than_the_window_gives_none_and_is_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        dataset = make_dataset(make_model("kosmos"), source_of(2, 5))
    assert dataset.too_short == ["memory/e0"]
    assert {sample.episode for sample in all_samples(dataset)} == {1}
    assert "1 episodes are shorter than the window of 3 steps" in caplog.text
    with pytest.raises(ConfigError, match=r"all 1 episodes are shorter.*left_pad"):
        make_dataset(make_model("kosmos"), source_of(2))


def test_an_episode_shorter_than_the_chunk_is_masked_at_its_end() -> None:
    dataset = make_dataset(make_model("kosmos"), source_of(1), WindowSettings(left_pad=True))
    (sample,) = all_samples(dataset)
    assert sample.mask.tolist() == [[False, False], [False, True], [True, False]]


def test_the_history_is_what_the_ring_of_a_robot_would_hold() -> None:
    model = make_model("kosmos", act_encoder={"window": 4})
    dataset = make_dataset(model, source_of(6))
    labels = labels_of(dataset, 0)
    for sample in all_samples(dataset):
        for position, step in enumerate(sample.steps.tolist()):
            ring = ActionHistoryRing(4)
            for executed in range(step):
                ring.push(1, executed, executed, labels[executed])
            expected = ring.window()
            assert sample.history is not None
            assert sample.history_valid is not None
            np.testing.assert_array_equal(sample.history[position], expected.actions)
            np.testing.assert_array_equal(sample.history_valid[position], expected.valid)


def test_history_dropout_hides_rows_in_training_only() -> None:
    model = make_model("kosmos", act_encoder={"window": 4})
    dataset = make_dataset(model, source_of(40), WindowSettings(history_dropout=0.5))
    keys = [SampleKey(len(dataset) - 1, seed) for seed in (None, *range(200))]
    whole, *dropped = (dataset[key] for key in keys)
    assert whole.history_valid is not None
    assert whole.history_valid.all()
    shares = torch.stack([sample.history_valid.float().mean() for sample in dropped])  # type: ignore[union-attr]
    assert 0.4 < shares.mean() < 0.6
    assert dropped[0].history is not None
    assert not dropped[0].history[~dropped[0].history_valid].any()


def test_states_are_given_where_they_were_asked_for() -> None:
    source = source_of(5)
    dataset = make_dataset(make_model("kosmos", state_encoder={"arm_dim": 6}), source)
    states = source.episodes[0].states
    for sample in all_samples(dataset):
        assert states is not None
        np.testing.assert_allclose(sample.state, states[sample.steps], rtol=1e-6)
    assert all_samples(make_dataset(make_model("kosmos"), source))[0].state is None


def test_the_random_shift_depends_on_the_seed_alone_and_only_on_the_cameras_named() -> None:
    source = make_source(1, 4, cameras=("static", "hand"))
    settings = WindowSettings(shift={"static": 3})
    dataset = make_dataset(make_model("kosmos", use_hand_rgb=True), source, settings)
    plain, first, again, other = (dataset[SampleKey(0, seed)] for seed in (None, 1, 1, 2))
    assert torch.equal(first.static, again.static)
    assert not torch.equal(first.static, plain.static)
    assert not torch.equal(first.static, other.static)
    assert torch.equal(first.hand, plain.hand)  # type: ignore[arg-type]


class Corrupt(ArrayEpisode):
    """Step 2 of this episode cannot be decoded."""

    def image(self, camera: str, step: int) -> NDArray[np.uint8]:
        if step == 2:
            raise DataError(f"episode {self.identifier}, step 2, camera {camera}: not a JPEG")
        return super().image(camera, step)


def corrupt(number: int, steps: int) -> Corrupt:
    episode = make_episode(number, steps)
    return Corrupt(**{name: getattr(episode, name) for name in ArrayEpisode.__dataclass_fields__})


def test_a_corrupt_image_is_reported_once_and_its_windows_are_replaced(caplog: pytest.LogCaptureFixture) -> None:
    source = MemorySource("memory", [corrupt(0, 5), make_episode(1, 5)], "rpy", CALVIN.frame)
    dataset = make_dataset(make_model("kosmos"), source)
    with caplog.at_level(logging.WARNING):
        samples = all_samples(dataset)
    assert [(sample.episode, int(sample.steps[0])) for sample in samples[:4]] == [(1, 0)] * 4
    assert caplog.text.count("episode e0, step 2, camera static: not a JPEG") == 1


def test_nothing_readable_is_an_error_with_the_last_reason() -> None:
    source = MemorySource("memory", [corrupt(0, 3)], "rpy", CALVIN.frame)
    with pytest.raises(DataError, match=r"no window can be read any more.*not a JPEG"):
        all_samples(make_dataset(make_model("kosmos"), source))


def test_a_dataset_goes_to_worker_processes_without_its_open_episodes() -> None:
    dataset = make_dataset(make_model("kosmos"), source_of(5))
    before = all_samples(dataset)
    copy: WindowDataset = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(all_samples(copy)[1].static, before[1].static)


def batch_of(model: Any, samples: Sequence[Sample]) -> Batch:
    return Collate(model.tokenizer.pad_token_id, IGNORED_LABEL)(samples)


def test_prompts_are_padded_on_the_right() -> None:
    model = make_model("kosmos")
    samples = all_samples(make_dataset(model, source_of(3, 3)))
    batch = batch_of(model, samples)
    lengths = [len(sample.ids[0]) for sample in samples]
    assert lengths[0] > lengths[1]
    assert batch.text_mask.sum(dim=1).tolist() == lengths
    for row, sample in zip(batch.ids, samples, strict=True):
        assert row[: len(sample.ids[0])].tolist() == sample.ids[0]
        assert (row[len(sample.ids[0]) :] == model.tokenizer.pad_token_id).all()
    assert torch.equal(batch.rows([1]).pose[0], samples[1].pose)
    assert batch.rows([1]).instructions == ["open the drawer"]


def test_discrete_answers_are_the_chunk_as_tokens_and_end_with_the_episode() -> None:
    model = make_model("kosmos", head="DiscreteDecoder", action_space="discrete", n_bin=16)
    dataset = make_dataset(model, source_of(4))
    batch = batch_of(model, all_samples(dataset))
    words, end = model.act_head.action_tokenizer, model.tokenizer.eos_token_id
    prompt = model.encode_text("pick up the red block")[0]
    assert batch.labels is not None
    assert batch.ids.shape == batch.labels.shape == (2, W, len(prompt) + N * 7 + 1)
    labels = labels_of(dataset, 0).astype(np.float64)
    labels[:, 6] = 2 * labels[:, 6] - 1
    for window in range(2):
        for position in range(W):
            step = window + position
            ids, row = batch.ids[window, position], batch.labels[window, position]
            chosen = row[row != IGNORED_LABEL]
            expected = words.encode(labels[step : step + N]).ravel().tolist()
            assert chosen.tolist() == [*expected, end]
            assert torch.equal(ids[: len(prompt)], prompt)
            assert ids[len(prompt) : len(prompt) + len(expected)].tolist() == expected


def test_a_step_before_the_episode_teaches_no_action_words() -> None:
    model = make_model("kosmos", head="DiscreteDecoder", action_space="discrete", n_bin=16)
    sample = all_samples(make_dataset(model, source_of(4), WindowSettings(left_pad=True)))[0]
    assert sample.labels is not None
    counts = [sum(label != IGNORED_LABEL for label in row) for row in sample.labels]
    assert counts == [1, 1, 2 * 7 + 1]
