"""The rules of a control step, under a clock that the test turns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from controlled import MS, START, Recording, acted, make, picture, step

from robovlms_ros.policy.chunk_settings import ChunkSettings
from robovlms_ros.policy.controller import Controller
from robovlms_ros.policy.decision import Action, ControlSettings, Hold, Request
from robovlms_ros.policy.frames import Frame, FrameError
from robovlms_ros.policy.safety import ActionError, Limits
from robovlms_ros.policy.types import ActionChunk


@pytest.fixture
def policy() -> Recording:
    return Recording()


def test_an_action_answers_its_image(policy: Recording) -> None:
    action = acted(step(make(policy), START))
    assert (action.stamp_ns, action.instruction, action.sequence, action.episode) == (START, "pick", 0, 0)
    assert (action.step_index, action.chunk_size, action.saturated, action.stop) == (0, 1, 0, False)
    np.testing.assert_array_equal(policy.seen[0].images["static"], np.zeros((4, 4, 3)))


def test_published_actions_are_numbered_without_gaps(policy: Recording) -> None:
    controller = make(policy)
    assert [acted(step(controller, START + i * 33 * MS)).sequence for i in range(5)] == [0, 1, 2, 3, 4]


def test_the_same_stamp_is_never_inferred_twice(policy: Recording) -> None:
    controller = make(policy)
    acted(step(controller, START))
    assert step(controller, START) is Hold.NO_FRAME
    assert controller.counts["duplicate stamp"] == 1


def test_a_stale_image_is_not_acted_on_and_counted(policy: Recording) -> None:
    controller = make(policy, ControlSettings(max_age_ns=500 * MS))
    assert step(controller, START, now=START + 501 * MS) is Hold.STALE
    assert controller.counts["stale image"] == 1
    assert not policy.seen
    acted(step(controller, START + 600 * MS, now=START + 1100 * MS))


def test_a_stamp_in_the_future_is_refused_beyond_the_tolerance(policy: Recording) -> None:
    controller = make(policy, ControlSettings(future_tolerance_ns=200 * MS))
    assert step(controller, START + 201 * MS, now=START) is Hold.NO_FRAME
    assert controller.counts["future stamp"] == 1
    acted(step(controller, START + 200 * MS, now=START))


def test_nothing_happens_before_the_clock_runs(policy: Recording) -> None:
    assert step(make(policy), 0, now=0) is Hold.NO_CLOCK


def test_without_an_instruction_there_is_no_action(policy: Recording) -> None:
    controller = Controller(policy.session, policy.profile, ["static"], ControlSettings())
    assert step(controller, START) is Hold.NO_INSTRUCTION
    controller.set_instruction("pick")
    assert acted(controller.step(START + 5 * MS)).stamp_ns == START


def test_an_empty_instruction_stops_and_the_same_text_later_is_a_new_episode(policy: Recording) -> None:
    controller = make(policy)
    acted(step(controller, START))
    assert controller.set_instruction("")
    assert step(controller, START + 33 * MS) is Hold.STOPPED
    assert controller.set_instruction("pick")
    assert acted(step(controller, START + 66 * MS)).episode == 1


def test_the_same_instruction_again_changes_nothing(policy: Recording) -> None:
    controller = make(policy)
    acted(step(controller, START))
    assert not controller.set_instruction("pick")
    assert acted(step(controller, START + 33 * MS)).sequence == 1


def test_a_changed_instruction_starts_an_episode_with_a_fresh_session(policy: Recording) -> None:
    controller = make(policy)
    first = acted(step(controller, START))
    acted(step(controller, START + 33 * MS))
    resets = policy.resets
    controller.set_instruction("push")
    action = acted(step(controller, START + 66 * MS))
    assert (action.episode, action.sequence, action.instruction) == (1, 0, "push")
    assert policy.resets == resets + 1
    controller.set_instruction("pick")
    again = acted(step(controller, START + 99 * MS))
    np.testing.assert_array_equal(again.action, first.action)


@pytest.mark.parametrize("interrupt", ["reset", "instruction", "stop", "disable", "clock"])
def test_a_result_that_the_world_overtook_is_discarded(policy: Recording, interrupt: str) -> None:
    controller = make(policy)
    controller.offer("static", picture(START), START)
    request = controller.plan(START)
    assert isinstance(request, Request)
    chunk = controller.infer(request)
    now = START + 300 * MS
    if interrupt == "reset":
        controller.new_episode()
    elif interrupt == "instruction":
        controller.set_instruction("push")
    elif interrupt == "stop":
        controller.set_instruction("")
    elif interrupt == "disable":
        controller.apply(replace(controller.settings, enabled=False))
    else:
        now = START - 1000 * MS
    assert controller.commit(request, chunk, now) is Hold.OBSOLETE
    assert controller.sequence == 0


def test_a_clock_that_jumps_back_starts_an_episode_and_takes_old_stamps_again(policy: Recording) -> None:
    controller = make(policy)
    acted(step(controller, START))
    action = acted(step(controller, START - 5000 * MS))
    assert (action.episode, action.sequence) == (1, 0)
    assert controller.counts["clock jump"] == 1


def test_clocks_read_by_two_threads_are_no_jump(policy: Recording) -> None:
    controller = make(policy)
    acted(step(controller, START))
    assert not controller.observe_clock(START + 4 * MS)
    assert acted(step(controller, START + 33 * MS)).episode == 0


def test_a_reset_repeats_the_episode_exactly(policy: Recording) -> None:
    controller = make(policy)
    first = [acted(step(controller, START + i * 33 * MS)).action for i in range(4)]
    controller.new_episode()
    second = [acted(step(controller, START + (10 + i) * 33 * MS)).action for i in range(4)]
    np.testing.assert_array_equal(first, second)


def test_restarting_counts_as_an_episode_only_if_something_happened(policy: Recording) -> None:
    controller = make(policy)
    controller.restart()
    assert controller.episode == 0
    acted(step(controller, START))
    controller.restart()
    assert controller.episode == 1


# -- limits and failures


def test_limits_apply_and_the_executed_action_is_fed_back(policy: Recording) -> None:
    policy.change = lambda c: replace(c, actions=np.array([[0.3, 0.4, 0, 0, 0, 0, 1.0]]))
    controller = make(policy, ControlSettings(limits=Limits(translation=0.01)))
    action = acted(step(controller, START))
    np.testing.assert_allclose(action.action, [0.006, 0.008, 0, 0, 0, 0, 1])
    np.testing.assert_allclose(action.normalized, [0.3, 0.4, 0, 0, 0, 0, 1], rtol=1e-6)
    assert action.saturated == 0b11
    step(controller, START + 33 * MS)
    history = policy.seen[1].history
    assert history is not None
    np.testing.assert_array_equal(history.actions[-1], action.normalized)


def test_the_fed_back_gripper_is_what_was_sent_not_what_the_model_answered(policy: Recording) -> None:
    def held_closed(chunk: ActionChunk) -> ActionChunk:
        normalized, actions = chunk.normalized.copy(), chunk.actions.copy()
        normalized[:, 6], actions[:, 6] = 1.0, 0.0
        return replace(chunk, normalized=normalized, actions=actions)

    policy.change = held_closed
    assert acted(step(make(policy), START)).normalized[6] == 0.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dimension", range(7))
def test_a_result_that_is_not_finite_gives_no_action(policy: Recording, dimension: int, value: float) -> None:
    def spoil(chunk: ActionChunk) -> ActionChunk:
        actions = chunk.actions.copy()
        actions[0, dimension] = value
        return replace(chunk, actions=actions)

    policy.change = spoil
    with pytest.raises(ActionError, match=f"dimension {dimension}"):
        step(make(policy), START)


def test_failures_in_a_row_exhaust_the_node_and_one_success_forgives_them(policy: Recording) -> None:
    controller = make(policy, ControlSettings(max_failures=2))
    controller.offer("static", picture(START), START)
    request = controller.plan(START)
    assert isinstance(request, Request)
    assert not controller.failed(request, "inference failed")
    acted(step(controller, START + 33 * MS))
    assert not controller.failed(request, "inference failed")
    assert controller.failed(request, "inference failed")
    assert controller.counts["inference failed"] == 3


def test_a_failed_inference_begins_the_episode_again(policy: Recording) -> None:
    controller = make(policy)
    controller.offer("static", picture(START), START)
    request = controller.plan(START)
    assert isinstance(request, Request)
    controller.failed(request, "not finite")
    assert acted(step(controller, START + 33 * MS)).episode == 1


def test_an_image_that_cannot_be_decoded_leaves_the_episode_alone(policy: Recording) -> None:
    def corrupt() -> Any:
        raise FrameError("broken")

    controller = make(policy)
    acted(step(controller, START))
    controller.offer("static", Frame(START + 33 * MS, corrupt), START + 33 * MS)
    with pytest.raises(FrameError):
        controller.step(START + 34 * MS)
    assert acted(step(controller, START + 66 * MS)).sequence == 1


# -- timings


def test_the_wait_of_the_image_and_its_decoding_are_measured_beside_the_model(policy: Recording) -> None:
    action = acted(step(make(policy), START, now=START + 5 * MS))
    assert list(action.timings) == ["wait", "decode", "model"]
    assert action.timings["wait"] == pytest.approx(0.005)
    assert action.timings["decode"] >= 0.0


def test_an_action_that_no_inference_gave_has_no_timings() -> None:
    policy = Recording(chunk=3)
    controller = make(policy, ControlSettings(chunk=ChunkSettings("open_loop", horizon=3)))
    timings = [acted(step(controller, START + i * 33 * MS)).timings for i in range(4)]
    assert [bool(each) for each in timings] == [True, False, False, True]


# -- pace and chunks


def test_the_rate_is_kept_on_average_although_stamps_jitter(policy: Recording) -> None:
    controller = make(policy, ControlSettings(rate=10.0))
    jitter = np.random.default_rng(0).integers(-3 * MS, 3 * MS, 300)
    results = [step(controller, START + i * 33_333_333 + int(jitter[i])) for i in range(300)]
    assert sum(isinstance(result, Action) for result in results) == pytest.approx(100, abs=2)
    assert {result for result in results if isinstance(result, Hold)} == {Hold.NOT_DUE}


def test_by_default_every_image_is_answered(policy: Recording) -> None:
    controller = make(policy)
    assert all(isinstance(step(controller, START + i * 7 * MS), Action) for i in range(50))


def test_a_chunk_executed_open_loop_counts_its_steps() -> None:
    policy = Recording(chunk=5)
    controller = make(policy, ControlSettings(chunk=ChunkSettings("open_loop", horizon=3)))
    actions = [acted(step(controller, START + i * 33 * MS)) for i in range(6)]
    assert [action.step_index for action in actions] == [0, 1, 2, 0, 1, 2]
    assert {action.chunk_size for action in actions} == {5}
    assert [action.chunk is not None for action in actions] == [True, False, False, True, False, False]
    np.testing.assert_array_equal(actions[1].action, actions[0].chunk.actions[1])  # type: ignore[union-attr]


def test_every_step_of_a_chunk_passes_the_limits() -> None:
    policy = Recording(chunk=10)
    action = acted(step(make(policy, ControlSettings(limits=Limits(0.001, 0.002))), START))
    assert action.chunk is not None
    assert (np.linalg.norm(action.chunk.actions[:, :3], axis=1) < 0.001 + 1e-12).all()
    assert action.chunk.actions.shape == (10, 7)


# -- two cameras


def test_two_cameras_are_used_together_with_the_older_stamp(policy: Recording) -> None:
    controller = make(policy, cameras=["static", "hand"], sync_slop_ns=20 * MS)
    controller.offer("static", picture(START + 10 * MS), START + 30 * MS)
    assert controller.step(START + 30 * MS) is Hold.NO_FRAME
    controller.offer("hand", picture(START, 9), START + 30 * MS)
    assert acted(controller.step(START + 30 * MS)).stamp_ns == START
    assert policy.seen[0].images["hand"].max() == 9  # type: ignore[union-attr]


def test_two_cameras_out_of_step_give_no_action_and_say_so(policy: Recording) -> None:
    controller = make(policy, cameras=["static", "hand"], sync_slop_ns=20 * MS)
    controller.offer("static", picture(START), START + 30 * MS)
    controller.offer("hand", picture(START + 21 * MS), START + 30 * MS)
    assert controller.step(START + 30 * MS) is Hold.UNMATCHED
