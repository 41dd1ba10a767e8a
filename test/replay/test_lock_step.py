"""The acceptance test of replays: offline they say what the nodes publish over DDS, to the last bit.

vla_node and action_history_node run as processes, with a model that looks back on its actions; the bag is played
to them in lock-step, at its own pace, at half of it and at twice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bags
import numpy as np
import pytest
from replaying import HAND, IMAGE, INSTRUCTION, PERIOD, SPOKEN, look, parameters, record, split

pytest.importorskip("rclpy")
from robovlms_ros.policy.policy_loader import load_policy
from robovlms_ros.policy.untrained import make_untrained
from robovlms_ros.replay.lock_step import run_lock_step
from robovlms_ros.replay.opening import open_for_replay
from robovlms_ros.replay.problems import Problems
from robovlms_ros.replay.replay import ReplayOptions, replay
from robovlms_ros.replay.result import PublishedAction, ReplayResult

SAID = [(-0.05, SPOKEN), (4 * PERIOD + 0.05, "put it down")]
PATIENCE = 240.0
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "model"
    return make_untrained(folder, image_size=28, chunk=4, hand=True, action_encoder=True)


def late(writer: Any) -> None:
    """An image that answers nothing (its stamp repeats), then two more, of another size."""
    writer.put(IMAGE, bags.image(bags.picture(5, 32), 5 * PERIOD), 6 * PERIOD)
    look(writer, 7, 7 * PERIOD, side=40)
    look(writer, 7, 7 * PERIOD + 0.02, HAND, side=40)


def recorded(folder: Path, storage: str) -> Path:
    return record(folder / storage, 6, storage, hand=True, side=32, said=SAID, extra=late)


def in_two_files(folder: Path) -> Path:
    """The same messages, divided between two files in the middle."""

    def part(first: int, last: int, tail: bool) -> Any:
        def write(writer: Any) -> None:
            for i in range(first, last):
                look(writer, i, i * PERIOD, IMAGE, 32)
                look(writer, i, i * PERIOD + 0.02, HAND, 32)
            if tail:
                writer.put(INSTRUCTION, bags.text(SAID[1][1]), SAID[1][0])
                late(writer)

        return write

    halves = (
        record(folder / "a", 0, said=SAID[:1], extra=part(0, 3, False)),
        record(folder / "b", 0, said=(), extra=part(3, 6, True)),
    )
    return split(folder / "halves", *halves)


def offline(path: Path, values: dict[str, Any]) -> ReplayResult:
    topics = {"image": IMAGE, "image_hand": HAND}
    options = ReplayOptions(topics=topics, parameters=values, keep_going=True)
    return replay(path, load_policy(values), options)


def numbers(message: Any) -> list[float]:
    move, turn = message.translation, message.rotation
    return [move.x, move.y, move.z, turn.x, turn.y, turn.z, message.gripper]


def assert_equal(live: list[Any], expected: list[PublishedAction]) -> None:
    assert len(live) == len(expected)
    for message, action in zip(live, expected, strict=True):
        assert numbers(message)[:6] == list(action.action[:6]), "tolerance 0"
        assert message.gripper == np.float32(action.action[6])
        np.testing.assert_array_equal(message.model_action, np.float32(action.normalized))
        stamp = message.header.stamp
        assert stamp.sec * 10**9 + stamp.nanosec == action.stamp_ns
        assert (message.episode, message.sequence) == (action.episode, action.sequence)
        assert (message.step_index, message.chunk_size) == (action.step_index, action.chunk_size)
        assert (message.saturated, message.instruction) == (action.saturated, action.instruction)


@pytest.mark.fault(31, 32)
@pytest.mark.parametrize(
    ("storage", "rate", "given"),
    [
        ("mcap", 1.0, {}),
        ("sqlite3", 0.5, {"chunk__mode": "open_loop", "chunk__horizon": 3}),
        ("two files", 2.0, {"chunk__mode": "ensemble", "limits__translation": 0.004}),
    ],
)
def test_offline_equals_the_nodes_over_dds(
    tmp_path: Path, model: Path, storage: str, rate: float, given: dict[str, Any]
) -> None:
    path = in_two_files(tmp_path) if storage == "two files" else recorded(tmp_path, storage)
    # Another number of threads adds up in another order.
    values = parameters(model__path=str(model), model__threads=1, images__sync_slop=0.03, **given)
    result = offline(path, values)
    expected = [action for action in result.actions if not action.stop]
    assert [action.episode for action in expected] == [0, 0, 0, 0, 0, 1, 1]
    assert result.counts["duplicate stamp"] == 1
    assert any(action.saturated for action in expected) == ("limits__translation" in given)
    changed = {name: value for name, value in values.items() if value != parameters()[name]}
    remaps = {"image": IMAGE, "image_hand": HAND, "instruction": INSTRUCTION}
    with open_for_replay(path, Problems(keep_going=True)) as bag:
        times = [action.time_ns for action in expected]
        run = run_lock_step(bag, changed, remaps, times, rate=rate, timeout=PATIENCE)
    assert_equal([action.message for action in run.actions], expected)
    assert [sum(window.valid) for window in run.histories] == [1, 2, 3, 4, 5, 1, 2]
    rows = [inference.history_rows for inference in result.inferences]
    assert rows == [0, 1, 2, 3, 4, 0, 1]
