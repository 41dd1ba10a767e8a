"""What a controller shows the model of the past."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from controlled import MS, START, Recording, acted, make, step

from robovlms_ros.policy.decision import Hold
from robovlms_ros.policy.history import ActionHistoryRing
from robovlms_ros.policy.types import HistoryWindow


@pytest.fixture
def policy() -> Recording:
    return Recording()


def test_both_sources_of_history_give_the_same_windows() -> None:
    inside, outside = Recording(), Recording()
    internal, external = make(inside), make(outside, internal_history=False)
    node = ActionHistoryRing(16)
    for i in range(30):
        if i == 20:
            internal.new_episode()
            external.new_episode()
        acted(step(internal, START + i * 33 * MS))
        action = acted(step(external, START + i * 33 * MS))
        node.push(action.episode, action.sequence, action.stamp_ns, action.normalized)
        external.set_history(node.episode, node.sequence, node.window())
    for mine, theirs in zip(inside.seen, outside.seen, strict=True):
        assert mine.history is not None
        assert theirs.history is not None
        np.testing.assert_array_equal(mine.history.actions, theirs.history.actions)
        np.testing.assert_array_equal(mine.history.valid, theirs.history.valid)
    assert inside.seen[5].history.valid.sum() == 5  # type: ignore[union-attr]


def test_a_history_that_lags_is_marked_and_not_shifted(policy: Recording) -> None:
    controller = make(policy, internal_history=False, history_length=4)
    node = ActionHistoryRing(4)
    for i in range(3):
        action = acted(step(controller, START + i * 33 * MS))
        if i < 2:
            node.push(action.episode, action.sequence, action.stamp_ns, action.normalized)
    controller.set_history(node.episode, node.sequence, node.window())
    step(controller, START + 99 * MS)
    assert policy.seen[-1].history.valid.tolist() == [False, True, True, False]  # type: ignore[union-attr]


def test_the_history_of_another_episode_is_not_used(policy: Recording) -> None:
    controller = make(policy, internal_history=False)
    acted(step(controller, START))
    controller.set_history(7, 0, HistoryWindow(np.ones((1, 7), np.float32), np.ones(1, bool)))
    acted(step(controller, START + 33 * MS))
    assert not policy.seen[-1].history.valid.any()  # type: ignore[union-attr]


def test_the_lag_of_the_received_history_is_measured(policy: Recording) -> None:
    controller = make(policy, internal_history=False)
    node = ActionHistoryRing(16)
    for i in range(5):
        action = acted(step(controller, START + i * 33 * MS))
        node.push(action.episode, action.sequence, action.stamp_ns, action.normalized)
        if i in (0, 1, 3):
            controller.set_history(node.episode, node.sequence, node.window())
    # The windows lacked 0 (there was nothing yet), 0, 0, 1 and 0 actions.
    lag = controller.history_lag
    assert (lag.windows, lag.behind, lag.rows, lag.most) == (5, 1, 0, 1)
    controller.new_episode()
    for i in range(5, 8):
        acted(step(controller, START + i * 33 * MS))
    assert (lag.windows, lag.behind, lag.rows, lag.most) == (8, 3, 2, 2)


def test_a_history_kept_inside_never_lags(policy: Recording) -> None:
    controller = make(policy)
    for i in range(5):
        acted(step(controller, START + i * 33 * MS))
    assert controller.history_lag.windows == 0


def test_images_wait_for_the_history_where_that_is_wanted_and_not_for_ever(policy: Recording) -> None:
    controller = make(policy, internal_history=False, history_length=4)
    controller.apply(replace(controller.settings, history_wait_ns=200 * MS))
    node = ActionHistoryRing(4)
    action = acted(step(controller, START))  # nothing has happened before the first
    assert step(controller, START + 33 * MS) is Hold.NO_HISTORY
    node.push(action.episode, action.sequence, action.stamp_ns, action.normalized)
    controller.set_history(node.episode, node.sequence, node.window())
    acted(controller.step(START + 40 * MS))  # the image has waited
    assert policy.seen[-1].history.valid.tolist() == [False, False, False, True]  # type: ignore[union-attr]
    assert step(controller, START + 66 * MS) is Hold.NO_HISTORY
    acted(controller.step(START + 300 * MS))  # what has not come by now is shown as missing
    assert policy.seen[-1].history.valid.tolist() == [False, False, True, False]  # type: ignore[union-attr]
