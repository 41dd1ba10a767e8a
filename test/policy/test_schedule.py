"""Which action of which chunk is executed at which step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robovlms_ros.policy.chunk_settings import ChunkSettings
from robovlms_ros.policy.decision import LimitedChunk
from robovlms_ros.policy.schedule import ChunkSchedule, Prediction, ScheduledStep, ensemble_weights

MS = 1_000_000
STEP = 100 * MS
OPEN_LOOP = ChunkSettings("open_loop", overlap=True)
ENSEMBLE = ChunkSettings("ensemble")
SCHEDULED = st.sampled_from(
    [OPEN_LOOP, ENSEMBLE, *(ChunkSettings("blend", blend_steps=steps) for steps in (0, 1, 2, 5))]
)


def predict(stamp: int, values: Any, gripper: float = 1.0, bits: int = 0) -> Prediction:
    """A chunk whose action ``i`` has ``values[i]`` in every dimension of the arm."""
    actions = np.repeat(np.asarray(values, dtype=np.float64)[:, None], 7, axis=1)
    actions[:, 6] = gripper
    saturated = np.full(len(actions), bits, dtype=np.uint32)
    return Prediction(stamp, LimitedChunk(actions, actions.astype(np.float32), saturated))


def run(schedule: ChunkSchedule, steps: int, settings: ChunkSettings, begin: int = 0) -> list[float | None]:
    """The first dimension of the next ``steps`` actions, one every STEP from ``begin``."""
    found = (schedule.next(begin + i * STEP, STEP, settings) for i in range(steps))
    return [None if step is None else float(step.action[0]) for step in found]


def acted(step: ScheduledStep | None) -> ScheduledStep:
    assert step is not None
    return step


def test_one_action_is_executed_per_step_until_the_chunk_is_used_up() -> None:
    schedule = ChunkSchedule()
    assert run(schedule, 1, OPEN_LOOP) == [None]
    schedule.add(predict(0, [0, 1, 2]))
    assert run(schedule, 5, OPEN_LOOP) == [0, 1, 2, None, None]


def test_actions_that_were_executed_since_the_image_are_skipped() -> None:
    schedule = ChunkSchedule()
    schedule.add(predict(0, range(10)))
    assert run(schedule, 6, OPEN_LOOP) == [0, 1, 2, 3, 4, 5]
    schedule.add(predict(3 * STEP, range(100, 110)))  # its image was taken when action 3 left
    step = acted(schedule.next(6 * STEP, STEP, OPEN_LOOP))
    assert (step.action[0], step.index, step.first, len(step.newest)) == (103, 3, True, 10)
    assert schedule.counts["late step"] == 3
    assert not acted(schedule.next(7 * STEP, STEP, OPEN_LOOP)).first


def test_an_arm_that_waited_has_nothing_to_skip() -> None:
    schedule = ChunkSchedule()
    schedule.add(predict(0, [0, 1]))
    assert run(schedule, 2, OPEN_LOOP) == [0, 1]
    schedule.add(predict(2 * STEP, [10, 11]))  # the image saw what the two actions did; then inference took long
    assert run(schedule, 2, OPEN_LOOP, begin=9 * STEP) == [10, 11]
    assert not schedule.counts


def test_steps_that_ran_ahead_of_time_do_not_skip_more_than_the_time_that_passed() -> None:
    schedule = ChunkSchedule()
    schedule.add(predict(0, range(10)))
    for _ in range(5):
        schedule.next(STEP, STEP, OPEN_LOOP)
    schedule.add(predict(STEP, range(100, 110)))
    assert run(schedule, 1, OPEN_LOOP, begin=2 * STEP + STEP // 2) == [101]


def test_a_chunk_that_is_past_as_a_whole_is_dropped_and_counted() -> None:
    schedule = ChunkSchedule()
    schedule.add(predict(0, range(5)))
    run(schedule, 5, OPEN_LOOP)
    schedule.add(predict(0, range(5)))
    assert run(schedule, 1, OPEN_LOOP, begin=5 * STEP) == [None]
    assert schedule.counts == {"late step": 5, "late chunk": 1}


def test_an_image_stamped_ahead_of_the_clock_skips_nothing() -> None:
    schedule = ChunkSchedule()
    schedule.add(predict(0, range(5)))
    run(schedule, 2, OPEN_LOOP)
    schedule.add(predict(3 * STEP, [10, 11]))
    assert run(schedule, 1, OPEN_LOOP, begin=2 * STEP) == [10]


def test_after_clear_nothing_of_the_old_chunks_is_executed() -> None:
    schedule = ChunkSchedule()
    schedule.add(predict(0, range(5)))
    run(schedule, 2, ENSEMBLE)
    schedule.add(predict(STEP, range(5)))
    schedule.clear()
    assert run(schedule, 3, ENSEMBLE, begin=2 * STEP) == [None] * 3
    schedule.add(predict(0, [7, 8]))
    assert run(schedule, 1, ENSEMBLE, begin=3 * STEP) == [7], "what was executed before is not counted"


def test_the_next_inference_is_due_when_the_horizon_of_the_newest_chunk_is_past() -> None:
    settings = ChunkSettings("open_loop", horizon=3, overlap=True)
    schedule = ChunkSchedule()
    assert schedule.due(settings)
    schedule.add(predict(0, range(10)))
    due = []
    for i in range(5):
        due.append(schedule.due(settings))
        schedule.next(i * STEP, STEP, settings)
    assert due == [False, False, False, True, True]
    schedule.add(predict(3 * STEP, range(10)))
    assert not schedule.due(settings)
    schedule.next(5 * STEP, STEP, settings)  # actions 0 and 1 were late, 2 is executed
    assert schedule.due(settings)


def test_the_ensemble_is_always_due() -> None:
    schedule = ChunkSchedule()
    schedule.add(predict(0, range(10)))
    assert schedule.due(ENSEMBLE)


# -- ensemble


def test_the_weights_are_those_of_act() -> None:
    np.testing.assert_allclose(ensemble_weights(3, 0.1), np.exp([0, -0.1, -0.2]) / np.exp([0, -0.1, -0.2]).sum())
    np.testing.assert_allclose(ensemble_weights(4, 0.0), np.full(4, 0.25))
    assert ensemble_weights(3, -10.0)[-1] > 0.9999


@given(st.integers(1, 500), st.floats(-10, 10))
def test_the_weights_sum_to_one_and_are_ordered(count: int, decay: float) -> None:
    weights = ensemble_weights(count, decay)
    assert weights.sum() == pytest.approx(1.0)
    assert (np.diff(weights) * np.sign(decay) <= 0).all()


def test_an_ensemble_means_all_predictions_of_a_step_and_takes_the_newest_gripper() -> None:
    schedule = ChunkSchedule()
    schedule.add(predict(0, [0, 10, 20], gripper=1.0, bits=0b1000001))
    assert acted(schedule.next(0, STEP, ENSEMBLE)).normalized is not None
    schedule.add(predict(STEP, [30, 40, 50], gripper=0.0, bits=0b10))
    step = acted(schedule.next(STEP, STEP, ENSEMBLE))
    old, new = ensemble_weights(2, 0.01)
    np.testing.assert_allclose(step.action[:6], old * 10 + new * 30)
    assert step.action[6] == 0.0
    assert step.normalized is None
    assert step.saturated == 0b11, "bits of the arm from all, the gripper's from the newest"
    assert (step.newest.stamp_ns, step.index) == (STEP, 0)
    schedule.next(2 * STEP, STEP, ENSEMBLE)
    last = acted(schedule.next(3 * STEP, STEP, ENSEMBLE))
    assert last.action[0] == 50
    assert last.normalized is not None


def test_an_ensemble_takes_two_chunks_that_arrived_between_two_steps() -> None:
    schedule = ChunkSchedule()
    schedule.add(predict(0, [0, 0]))
    schedule.add(predict(STEP // 2, [1, 1]))
    assert acted(schedule.next(STEP, STEP, ChunkSettings("ensemble", ensemble_decay=0.0))).action[0] == 0.5


# -- blend


def test_a_new_chunk_takes_over_linearly() -> None:
    settings = ChunkSettings("blend", blend_steps=3)
    schedule = ChunkSchedule()
    schedule.add(predict(0, [0] * 10))
    run(schedule, 2, settings)
    schedule.add(predict(2 * STEP, [1] * 10))
    assert run(schedule, 6, settings, begin=2 * STEP) == [0.25, 0.5, 0.75, 1, 1, 1]


def test_a_third_chunk_takes_over_from_the_blend_of_the_other_two() -> None:
    settings = ChunkSettings("blend", blend_steps=1)
    schedule = ChunkSchedule()
    for i, value in enumerate([0, 1, 1]):
        schedule.add(predict(i * STEP, [value] * 10))
        found = run(schedule, 1, settings, begin=i * STEP)
    assert found == [1.0]  # half of the third, half of what the second has become: all of it
    settings = ChunkSettings("blend", blend_steps=3)
    schedule.clear()
    for i, value in enumerate([0, 1, 2]):
        schedule.add(predict(i * STEP, [value] * 10))
        found = run(schedule, 1, settings, begin=i * STEP)
    assert found == [0.25 * 2 + 0.75 * (0.5 * 1 + 0.5 * 0)]


def test_an_old_chunk_that_ends_hands_over_at_once() -> None:
    settings = ChunkSettings("blend", blend_steps=9)
    schedule = ChunkSchedule()
    schedule.add(predict(0, [0, 0, 0]))
    run(schedule, 2, settings)
    schedule.add(predict(2 * STEP, [1] * 5))
    assert run(schedule, 3, settings, begin=2 * STEP) == [pytest.approx(0.1), 1, 1]


@given(st.integers(0, 6), st.integers(0, 8), st.floats(-5, 5), st.floats(-5, 5))
def test_a_blend_changes_by_equal_small_steps(blend: int, arrival: int, old: float, new: float) -> None:
    settings = ChunkSettings("blend", blend_steps=blend)
    schedule = ChunkSchedule()
    schedule.add(predict(0, [old] * 20))
    before = run(schedule, arrival + 1, settings)
    schedule.add(predict((arrival + 1) * STEP, [new] * 20))
    after = run(schedule, blend + 3, settings, begin=(arrival + 1) * STEP)
    changes = np.abs(np.diff(np.array(before[-1:] + after, dtype=np.float64)))
    assert changes.max() <= abs(new - old) / (blend + 1) + 1e-12
    assert after[-1] == new


# -- properties of every mode

EVENTS = st.lists(st.tuples(st.booleans(), st.integers(0, 250), st.integers(0, 400)), max_size=40)


@given(SCHEDULED, EVENTS, st.integers(1, 8))
def test_every_chunk_is_executed_in_order_and_never_too_far(
    settings: ChunkSettings, events: list[tuple[bool, int, int]], size: int
) -> None:
    """Each event is a step, or a chunk whose image is some time old, after some time."""
    schedule, now, times, last = ChunkSchedule(), 10_000 * MS, list[int](), dict[int, int]()
    for is_chunk, wait, age in events:
        now += wait * MS
        if is_chunk:
            schedule.add(predict(now - age * MS, np.zeros(size)))
            continue
        step = schedule.next(now, STEP, settings)
        if step is None:
            continue
        key = id(step.newest)
        if step.first:
            since = sum(time >= step.newest.stamp_ns for time in times)
            assert step.index <= min(since, (now - step.newest.stamp_ns) // STEP)
        elif key in last:
            assert step.index > last[key]
        last[key] = step.index
        assert 0 <= step.index < size
        times.append(now)


@given(SCHEDULED, st.lists(st.integers(0, 3), min_size=3, max_size=30), st.floats(-1, 1))
def test_constant_predictions_give_constant_actions(
    settings: ChunkSettings, arrivals: list[int], value: float
) -> None:
    schedule = ChunkSchedule()
    for i, late in enumerate(arrivals):
        schedule.add(predict((i - late) * STEP, [value] * 8))
        step = schedule.next(i * STEP, STEP, settings)
        if step is not None:
            np.testing.assert_array_equal(step.action[:6], np.full(6, value))


@given(SCHEDULED, st.lists(st.floats(-1, 1), min_size=4, max_size=12))
def test_chunks_that_agree_about_every_step_are_executed_as_predicted(
    settings: ChunkSettings, plan: list[float]
) -> None:
    schedule = ChunkSchedule()
    found = []
    for i in range(len(plan)):
        schedule.add(predict(i * STEP, plan[i : i + 4]))
        found += run(schedule, 1, settings, begin=i * STEP)
    assert found == plan
