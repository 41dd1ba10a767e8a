from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
from robovlms_ros.policy.decision import Action, LimitedChunk
from robovlms_ros.policy.types import HistoryWindow
from robovlms_ros.ros.interfaces import ActionHistory, VLAAction
from robovlms_ros.ros.messages import (
    ActionSpace,
    MessageError,
    action_message,
    chunk_message,
    history_message,
    history_window,
    to_duration,
    to_nanoseconds,
    to_time,
)

SPACE = ActionSpace("base_link", "axis_angle", 1 / 30, "RoboKosMos/LSTMDecoder@abc")
STAMP = 1_700_000_000_123_456_789
ACTION = Action(
    stamp_ns=STAMP,
    episode=3,
    sequence=17,
    instruction="pick",
    action=np.array([0.01, -0.02, 0.03, 0.1, -0.2, 0.3, 0.25]),
    normalized=np.array([0.1, -0.2, 0.3, 0.4, -0.5, 0.6, 0.0], np.float32),
    saturated=0b101,
    step_index=2,
    chunk_size=10,
    timings={"model": 0.0125, "vision": 0.004},
)


def test_every_field_of_an_action_is_filled() -> None:
    message = action_message(ACTION, SPACE, STAMP + 40_000_000)
    assert to_nanoseconds(message.header.stamp) == STAMP
    assert message.header.frame_id == "base_link"
    assert message.mode == VLAAction.MODE_DELTA
    assert (message.translation.x, message.translation.y, message.translation.z) == (0.01, -0.02, 0.03)
    assert (message.rotation.x, message.rotation.y, message.rotation.z) == (0.1, -0.2, 0.3)
    assert message.rotation_format == VLAAction.ROTATION_AXIS_ANGLE
    assert (message.gripper, message.gripper_closed) == (0.25, True)
    assert (message.step_duration.sec, message.step_duration.nanosec) == (0, 33333333)
    assert (message.step_index, message.chunk_size) == (2, 10)
    assert (message.sequence, message.episode, message.saturated) == (17, 3, 0b101)
    assert message.confidence == -1
    np.testing.assert_array_equal(message.model_action, ACTION.normalized)
    assert message.inference_time.nanosec == 12_500_000
    assert message.latency.nanosec == 40_000_000
    assert (message.model_id, message.instruction) == (SPACE.model_id, "pick")


def test_a_chunk_numbers_its_steps_and_shares_the_header() -> None:
    rows = np.arange(14, dtype=float).reshape(2, 7)
    chunk = LimitedChunk(rows, rows.astype(np.float32), np.array([0, 4], np.uint32))
    message = chunk_message(replace(ACTION, chunk=chunk, chunk_size=2), SPACE, STAMP)
    assert message is not None
    assert [step.step_index for step in message.steps] == [0, 1]
    assert [step.chunk_size for step in message.steps] == [2, 2]
    assert [step.saturated for step in message.steps] == [0, 4]
    assert [step.sequence for step in message.steps] == [17, 17]
    assert [step.translation.y for step in message.steps] == [1.0, 8.0]
    assert message.header == message.steps[0].header


def test_an_action_in_the_middle_of_a_chunk_carries_none() -> None:
    assert chunk_message(ACTION, SPACE, STAMP) is None


@pytest.mark.parametrize("nanoseconds", [0, 1, 999_999_999, 1_000_000_000, STAMP])
def test_stamps_survive_both_ways(nanoseconds: int) -> None:
    assert to_nanoseconds(to_time(nanoseconds)) == nanoseconds


def test_a_negative_duration_is_normalised() -> None:
    duration = to_duration(-1)
    assert (duration.sec, duration.nanosec) == (-1, 999_999_999)


def history(**changes: Any) -> ActionHistory:
    window = HistoryWindow(np.arange(14, dtype=np.float32).reshape(2, 7), np.array([False, True]))
    message = history_message(action_message(ACTION, SPACE, STAMP), window, 17)
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def test_a_history_survives_both_ways() -> None:
    message = history()
    assert (message.length, message.action_dim, message.episode, message.sequence) == (2, 7, 3, 17)
    assert to_nanoseconds(message.header.stamp) == STAMP
    window = history_window(message)
    np.testing.assert_array_equal(window.actions, np.arange(14).reshape(2, 7))
    assert window.valid.tolist() == [False, True]


@pytest.mark.parametrize(
    "changes",
    [
        {"length": 3},
        {"length": 0, "actions": [], "valid": []},
        {"length": 5000, "actions": [0.0] * 35000, "valid": [True] * 5000},
        {"action_dim": 6},
        {"action_dim": 14, "length": 1},
        {"valid": [True]},
        {"actions": [0.0] * 13},
        {"actions": [math.nan] * 14},
    ],
)
def test_a_history_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(MessageError):
        history_window(history(**changes))
