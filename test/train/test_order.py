"""Windows of an optimiser step: the same whoever asks, wherever a run begins, however many processes there are."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robovlms_ros.model.errors import ConfigError
from robovlms_ros.train.order import BatchSampler, TrainingOrder, seed_step

orders = st.builds(
    lambda batch, accumulate, world, more, seed: TrainingOrder(
        batch * accumulate * world + more, batch, seed, accumulate, world
    ),
    *(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 20), st.integers(0, 5)),
)


@given(orders)
def test_an_epoch_takes_every_window_at_most_once_and_leaves_out_less_than_a_step(order: TrainingOrder) -> None:
    taken = Counter(
        key.window
        for step in range(order.steps_per_epoch)
        for rank in range(order.world)
        for batch in order.micro_batches(step, rank)
        for key in batch
    )
    assert set(taken.values()) == {1}
    assert set(taken) <= set(range(order.windows))
    assert order.windows - len(taken) < order.per_step


@given(orders, st.integers(0, 20))
def test_more_processes_take_what_one_with_a_larger_batch_takes(order: TrainingOrder, step: int) -> None:
    alone = TrainingOrder(order.windows, order.batch_size * order.world, order.seed, order.accumulate)
    for micro, whole in enumerate(alone.micro_batches(step)):
        parts = [order.micro_batches(step, rank)[micro] for rank in range(order.world)]
        assert [key for part in parts for key in part] == whole


@given(orders, st.integers(0, 12), st.integers(0, 12))
def test_a_run_that_begins_later_goes_on_with_the_same_batches(
    order: TrainingOrder, first: int, more: int
) -> None:
    whole = list(BatchSampler(order, 0, first + more))
    rest = BatchSampler(order, first, first + more)
    assert list(rest) == whole[first * order.accumulate :]
    assert len(rest) == more * order.accumulate


def test_epochs_differ_and_seeds_of_samples_too() -> None:
    order = TrainingOrder(windows=50, batch_size=50, seed=3)
    first, second = (order.micro_batches(epoch)[0] for epoch in (0, 1))
    assert [key.window for key in first] != [key.window for key in second]
    assert len({key.seed for key in [*first, *second]}) == 100
    assert order.micro_batches(0) != TrainingOrder(50, 50, seed=4).micro_batches(0)


def test_too_few_windows_are_refused_with_the_numbers() -> None:
    with pytest.raises(ConfigError, match=r"there are 7 windows.*takes 8 \(batch size 2, 2 accumulated, 2 proc"):
        TrainingOrder(windows=7, batch_size=2, seed=0, accumulate=2, world=2)


def test_what_a_step_draws_depends_on_seed_step_and_process_alone() -> None:
    drawn = {}
    for numbers in [(0, 5, 0), (0, 6, 0), (0, 5, 1), (1, 5, 0)]:
        seed_step(*numbers)
        drawn[numbers] = torch.rand(3).tolist()
    assert len({tuple(values) for values in drawn.values()}) == 4
    torch.rand(17)
    seed_step(0, 5, 0)
    assert torch.rand(3).tolist() == drawn[0, 5, 0]
