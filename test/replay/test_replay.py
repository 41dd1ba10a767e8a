"""What the node would have published: the same controller, clocked by the bag."""

from __future__ import annotations

import json
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import bags
import numpy as np
import pytest
from replaying import (
    ARRIVAL,
    HAND,
    IMAGE,
    PERIOD,
    SPOKEN,
    Scripted,
    look,
    parameters,
    record,
    replayed,
    rows,
    split,
    stamps,
    times,
)

from robovlms_ros.policy.null_policy import NullPolicy
from robovlms_ros.replay.errors import ReplayError
from robovlms_ros.replay.images import read_images
from robovlms_ros.replay.replay import ReplayOptions, replay
from robovlms_ros.replay.result import ReplayResult, load_result

BOTH = ReplayOptions(topics={"image": IMAGE, "image_hand": HAND})


def kinds(result: ReplayResult, kind: str) -> list[str]:
    return [event.detail for event in result.events if event.kind == kind]


def without_timings(result: ReplayResult) -> dict[str, Any]:
    """What every replay of one bag shares."""
    content = json.loads(result.model_dump_json(exclude={"created", "seconds", "machine"}))
    for inference in content["inferences"]:
        inference["timings"] = sorted(inference["timings"])
    return content


def test_every_image_is_answered_when_it_arrives_and_the_next_one_knows_of_it(tmp_path: Path) -> None:
    policy = Scripted()
    result = replayed(record(tmp_path / "bag"), policy)
    assert stamps(result) == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert times(result) == [round(stamp + ARRIVAL, 6) for stamp in stamps(result)]
    assert [action.sequence for action in result.actions] == list(range(6))
    assert {action.instruction for action in result.actions} == {SPOKEN}
    assert [inference.history_rows for inference in result.inferences] == list(range(6))
    newest = policy.seen[-1].history
    assert newest is not None
    np.testing.assert_array_equal(newest.actions[-5:], [a.normalized for a in result.actions[:5]])
    assert [inference.images["static"].number for inference in result.inferences] == list(range(6))
    assert result.problems == result.notices == ()
    assert result.bag.complete


def test_two_replays_are_the_same_and_their_file_too(tmp_path: Path) -> None:
    path = record(tmp_path / "bag")
    first, second = replayed(path), replayed(path)
    assert without_timings(first) == without_timings(second)
    assert first.digest == second.digest
    first.save(tmp_path / "actions.json")
    assert load_result(tmp_path / "actions.json") == first


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_it_does_not_matter_how_a_bag_is_stored(tmp_path: Path, storage: str) -> None:
    whole = replayed(record(tmp_path / "whole"))
    other = replayed(record(tmp_path / "other", storage=storage))

    def first(writer: Any) -> None:
        for i in range(3):
            look(writer, i, i * PERIOD)

    def second(writer: Any) -> None:
        for i in range(3, 6):
            look(writer, i, i * PERIOD)

    parts = (
        record(tmp_path / "a", 0, storage, extra=first),
        record(tmp_path / "b", 0, storage, said=(), extra=second),
    )
    with pytest.raises(ReplayError, match="--keep-going"):
        replayed(split(tmp_path / "parts", *parts))
    pieces = replayed(tmp_path / "parts", options=ReplayOptions(keep_going=True))
    assert whole.actions == other.actions == pieces.actions
    assert whole.bag.digest == other.bag.digest == pieces.bag.digest
    assert len(pieces.bag.files) == 2


def test_compressed_images_give_what_raw_ones_give(tmp_path: Path) -> None:
    raw, png = replayed(record(tmp_path / "raw")), replayed(record(tmp_path / "png", kind="png"))
    assert raw.actions == png.actions
    assert png.options.topics["image"] == f"{IMAGE}/compressed"


def test_where_an_image_is_there_twice_the_parameter_says_which_one_counts(tmp_path: Path) -> None:
    def compressed(writer: Any) -> None:
        writer.put(f"{IMAGE}/compressed", bags.compressed(bags.picture(1), 0.0), 0.01)

    path = record(tmp_path / "bag", extra=compressed)
    assert replayed(path).options.topics["image"] == IMAGE
    assert replayed(path, images__transport="compressed").options.topics["image"] == f"{IMAGE}/compressed"


def test_the_pixels_of_every_inference_can_be_read_again(tmp_path: Path) -> None:
    result = replayed(record(tmp_path / "bag", hand=True), NullPolicy(cameras=("static", "hand")), BOTH)
    read = dict(read_images(tmp_path / "bag", list(result.images())))
    assert len(read) == 12
    for inference in result.inferences:
        for reference in inference.images.values():
            np.testing.assert_array_equal(read[reference], bags.picture(reference.number))


def test_two_cameras_are_matched_and_the_action_is_as_old_as_the_older_image(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", hand=True)
    result = replayed(path, NullPolicy(cameras=("static", "hand")), BOTH, images__sync_slop=0.03)
    assert stamps(result) == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert times(result)[0] == pytest.approx(0.02 + ARRIVAL)
    nothing = replayed(path, NullPolicy(cameras=("static", "hand")), BOTH, images__sync_slop=0.01)
    assert nothing.holds["camera stamps differ by more than the slop"]
    assert "no action came" in nothing.problems[-1]


def test_a_camera_that_is_switched_off_need_not_be_there(tmp_path: Path) -> None:
    policy = NullPolicy(cameras=("static", "hand"))
    assert len(replayed(record(tmp_path / "bag"), policy, images__hand__enabled=False).actions) == 6


def test_an_instruction_that_comes_late_finds_the_image_that_waits_for_it_unless_it_is_old(tmp_path: Path) -> None:
    result = replayed(record(tmp_path / "bag", 3, said=[(0.25, SPOKEN)]))
    assert stamps(result) == [0.2]
    assert times(result) == [0.25]
    old = replayed(record(tmp_path / "old", 3, said=[(0.95, SPOKEN)]))
    assert not old.actions
    assert kinds(old, "dropped image") == ["stale image"]


def test_another_instruction_begins_an_episode_and_an_empty_one_stops(tmp_path: Path) -> None:
    said = [(-0.05, SPOKEN), (0.25, "let go of it"), (0.45, "")]
    result = replayed(record(tmp_path / "bag", said=said))
    assert [(action.episode, action.sequence) for action in result.actions] == [
        *((0, 0), (0, 1), (0, 2)),
        *((1, 0), (1, 1)),
        (1, 2),
    ]
    stop = result.actions[-1]
    assert stop.stop
    assert stop.time_ns == bags.ns(0.45)
    assert stop.inference is None
    assert stop.action[:6] == (0.0,) * 6
    assert kinds(result, "instruction") == [SPOKEN, "let go of it", ""]
    assert [inference.history_rows for inference in result.inferences] == [0, 1, 2, 0, 1]


def test_a_refused_instruction_stops_too_and_says_why(tmp_path: Path) -> None:
    result = replayed(record(tmp_path / "bag", said=[(-0.05, SPOKEN), (0.15, "<image>")]))
    assert [action.stop for action in result.actions] == [False, False, True]
    (refused,) = kinds(result, "refused instruction")
    assert "<image>" in refused
    assert result.counts["refused instruction"] == 1


def test_a_given_instruction_counts_instead_of_those_of_the_bag(tmp_path: Path) -> None:
    options = ReplayOptions(instruction="open the drawer")
    result = replayed(record(tmp_path / "bag", said=()), options=options)
    assert {action.instruction for action in result.actions} == {"open the drawer"}
    assert len(result.actions) == 6


def test_a_pause_of_the_camera_is_ended_by_one_stop_at_the_watchdogs_time(tmp_path: Path) -> None:
    def later(writer: Any) -> None:
        look(writer, 9, 3.0)

    result = replayed(record(tmp_path / "bag", 2, extra=later))
    assert [action.stop for action in result.actions] == [False, False, True, False]
    # A second after the last action, when the watchdog looks next.
    assert 0 <= result.actions[2].time_ns - bags.ns(1.1 + ARRIVAL) <= 50_000_000
    assert result.inferences[-1].history_rows == 3
    assert result.counts["watchdog stop"] == 1


def test_the_rate_thins_the_images_out_and_the_others_are_accounted_for(tmp_path: Path) -> None:
    result = replayed(record(tmp_path / "bag", 7), rate=5.0)
    assert stamps(result) == [0.0, 0.2, 0.4, 0.6]
    overtaken = [event.number for event in result.events if event.kind == "overtaken image"]
    assert overtaken == [1, 3, 5]
    assert result.counts["overtaken image"] == 3


def test_an_inference_that_takes_time_is_late_by_it_and_images_pass_meanwhile(tmp_path: Path) -> None:
    result = replayed(record(tmp_path / "bag"), options=ReplayOptions(inference_time=0.15))
    # The third is begun at the moment at which an image comes: that one is heard just after it.
    assert times(result) == [0.16, 0.31, 0.46, 0.61, 0.76]
    assert [inference.images["static"].number for inference in result.inferences] == [0, 1, 2, 4, 5]
    assert [event.number for event in result.events if event.kind == "overtaken image"] == [3]


@pytest.mark.parametrize("mode", ["open_loop", "ensemble", "blend"])
def test_with_overlap_actions_leave_on_the_clocks_grid_while_the_model_works(tmp_path: Path, mode: str) -> None:
    policy = NullPolicy(chunk=10)
    options = ReplayOptions(inference_time=0.15)
    given = {"chunk__mode": mode, "chunk__overlap": True, "chunk__horizon": 3}
    result = replayed(record(tmp_path / "bag", 20), policy, options, **given)
    step = round(1e9 / 30)
    moving = [action for action in result.actions if not action.stop]
    assert len(moving) > 40
    assert all(action.time_ns % step == 0 for action in moving)
    for action in moving:
        assert action.inference is not None
        assert result.inferences[action.inference].end_ns <= action.time_ns
    assert replayed(record(tmp_path / "again", 20), policy, options, **given).actions == result.actions


def test_at_one_moment_the_step_begins_before_the_message_is_heard(tmp_path: Path) -> None:
    """Exactly on the tick: the action still belongs to the episode that the message ends."""
    step = round(1e9 / 30)
    tick = (bags.ns(0.5) // step + 1) * step
    seconds = (tick - bags.START_NS) / 1e9

    def stop(at: float) -> ReplayResult:
        path = record(tmp_path / f"bag{at}", said=[(-0.05, SPOKEN), (at, "")])
        given = {"chunk__mode": "open_loop", "chunk__overlap": True, "chunk__horizon": 30}
        return replayed(path, NullPolicy(chunk=30), **given)

    assert bags.ns(seconds) == tick
    assert [action.time_ns for action in stop(seconds).actions][-2:] == [tick, tick]
    assert [action.time_ns for action in stop(seconds - 1e-6).actions][-2:] == [tick - step, tick - 1000]


@pytest.mark.parametrize("arrives", [0.005, 0.05])
def test_an_image_waits_for_the_state_of_the_robot(tmp_path: Path, arrives: float) -> None:
    """The pose of the time of an image may be heard before or after it."""

    def poses(writer: Any) -> None:
        for i in range(6):
            pose = bags.pose((0.1 * i, 0, 0.5), (0, 0, 0, 1), i * PERIOD, "base_link")
            writer.put("/arm/pose", pose, i * PERIOD + arrives)
            writer.put("/joint_states", bags.joints({"finger": 0.01 * i}, i * PERIOD), i * PERIOD + arrives)

    policy = Scripted()
    policy.profile = changed(policy.profile, predicted_in="tool")  # needs the state
    given = {"state__source": "topics", "state__max_age": 0.02, "state__gripper_joint": "finger"}
    result = replayed(record(tmp_path / "bag", extra=poses), policy, state__gripper_open=0.04, **given)
    assert times(result) == [round(i * PERIOD + max(arrives, ARRIVAL), 6) for i in range(6)]
    states = [inference.state for inference in result.inferences]
    np.testing.assert_allclose([state[0] for state in states if state], 0.1 * np.arange(6))
    np.testing.assert_allclose([state[6] for state in states if state], [0, 0.25, 0.5, 0.75, 1, 1])


def test_a_workspace_holds_the_tool_and_the_bits_say_so(tmp_path: Path) -> None:
    def poses(writer: Any) -> None:
        for i in range(6):
            writer.put("/pose", bags.pose((0, 0, 0.5), (0, 0, 0, 1), i * PERIOD, "base_link"), i * PERIOD)

    box = (-1e-4, -1e-4, 0.4999, 1e-4, 1e-4, 0.5001)
    result = replayed(record(tmp_path / "bag", extra=poses), state__source="topics", limits__workspace=box)
    assert np.abs(rows(result)[:, :3]).max() <= 1e-4 + 1e-12
    assert any(action.saturated for action in result.actions)
    assert result.model.limits == {"translation": 0.05, "rotation": 0.1}


def test_the_history_may_be_kept_inside_or_be_short(tmp_path: Path) -> None:
    path = record(tmp_path / "bag")
    assert replayed(path, history__source="internal").actions == replayed(path).actions
    short = replayed(path, options=ReplayOptions(history_length=2))
    assert [inference.history_rows for inference in short.inferences] == [0, 1, 2, 2, 2, 2]


def test_a_policy_that_fails_for_good_ends_as_the_node_would(tmp_path: Path) -> None:
    def script(observation: Any, chunk: Any) -> Any:
        if len(policy.seen) > 2:
            raise RuntimeError("the tensor\nis gone")
        return chunk

    policy = Scripted(script)
    result = replayed(record(tmp_path / "bag", 12), policy)
    assert [action.stop for action in result.actions] == [False, False, True]
    assert [inference.outcome for inference in result.inferences][2:] == ["inference failed"] * 5
    assert result.inferences[-1].problem == "the tensor is gone"
    assert kinds(result, "gave up") == ["the tensor\nis gone"]
    assert result.problems[-1].startswith("the node would have deactivated itself")


def test_one_answer_that_is_not_finite_is_no_action_and_begins_an_episode(tmp_path: Path) -> None:
    def script(observation: Any, chunk: Any) -> Any:
        return changed(chunk, actions=chunk.actions * np.nan) if len(policy.seen) == 3 else chunk

    policy = Scripted(script)
    result = replayed(record(tmp_path / "bag"), policy)
    assert [action.episode for action in result.actions] == [0, 0, 1, 1, 1]
    assert result.counts == {"not finite": 1}


def test_a_part_of_a_bag_is_replayed_with_the_instruction_from_before_it(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", 10)
    result = replayed(path, options=ReplayOptions(start=0.4, duration=0.3))
    assert stamps(result) == [0.4, 0.5, 0.6]
    assert [inference.images["static"].number for inference in result.inferences] == [4, 5, 6]
    with pytest.raises(ReplayError, match=r"--start 99 is after the end of the bag, which is 1\.0 s long"):
        replayed(path, options=ReplayOptions(start=99.0))


def test_progress_counts_the_messages_that_are_heard(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    options = ReplayOptions(parameters=parameters())
    replay(record(tmp_path / "bag"), NullPolicy(), options, lambda done, total: told.append((done, total)))
    assert told == [(i, 7) for i in range(1, 8)]


def test_the_card_in_the_bag_is_compared_with_the_model(tmp_path: Path) -> None:
    def card(writer: Any) -> None:
        recorded = {"model_id": "null/none@1", "chunk": 1, "robot": "calvin"}
        writer.put("/vla_node/model_info", bags.text(json.dumps(recorded)), -0.1)

    result = replayed(record(tmp_path / "bag", extra=card))
    assert result.model.recorded_card == {"model_id": "null/none@1", "chunk": 1, "robot": "calvin"}
    assert result.model.differences == (
        "model_id: recorded with null/none@1, replayed with null/none@0",
        "robot: recorded with calvin, replayed with nothing",
    )
    assert "another model" in result.notices[0]


def test_a_policy_that_does_not_fit_the_parameters_is_refused_as_by_the_node(tmp_path: Path) -> None:
    path = record(tmp_path / "bag")
    with pytest.raises(ReplayError, match=r"limits\.workspace"):
        replayed(path, limits__workspace=(0.0, 0.0, 0.0, 1.0, 1.0, 1.0))
    with pytest.raises(ReplayError, match=r"chunk\.horizon"):
        replayed(path, NullPolicy(chunk=2), chunk__mode="open_loop", chunk__horizon=9)


def test_a_topic_is_taken_by_its_name_where_there_are_several(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", hand=True)
    with pytest.raises(ReplayError, match=rf"2 topics .*{IMAGE}, {HAND}.* with --image"):
        replayed(path)
    result = replayed(path, options=ReplayOptions(topics={"image": HAND}))
    assert stamps(result)[0] == pytest.approx(0.02)
