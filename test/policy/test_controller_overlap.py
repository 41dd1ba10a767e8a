"""Actions that leave at the control rate while the model works on the next chunk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from controlled import MS, START, Recording, acted, make, picture
from overlapped import OPEN_LOOP, STEP, Overlapped, label_of, labelled, overlapped

from robovlms_ros.policy.chunk_settings import ChunkSettings, Starvation
from robovlms_ros.policy.controller import Controller
from robovlms_ros.policy.decision import Action, ControlSettings, Hold, Request
from robovlms_ros.policy.safety import ActionError, Limits
from robovlms_ros.policy.types import ActionChunk


def labels(steps: list[tuple[int, Action]]) -> list[tuple[int, tuple[int, int]]]:
    return [(number, label_of(action)) for number, action in steps]


def test_a_chunk_of_twice_the_latency_gives_an_action_for_every_step() -> None:
    run = overlapped(labelled(20))
    # The first inference begins at 5 ms and ends at 305 ms; step 9 is at 320 ms. The second begins there, with the
    # image of 300 ms, and ends at 620 ms, after step 18. Ten steps were executed since its image.
    first = [(9 + row, (0, row)) for row in range(10)]
    later = [(19 + 10 * k + row, (k + 1, 10 + row)) for k in range(3) for row in range(10)]
    assert labels(run.run(49)) == first + later
    assert run.controller.counts == {"late step": 30}


@pytest.mark.parametrize("latency", [7, 40, 101, 170, 233, 299, 333, 500])
def test_a_chunk_of_twice_the_latency_and_two_steps_never_starves(latency: int) -> None:
    """README.md promises it."""
    run = overlapped(labelled(int(2 * latency * MS / STEP) + 3), latency_ns=latency * MS)
    run.run(40)
    assert len(run.run(100)) == 100


def test_an_action_leaves_within_one_step_of_the_time_that_it_was_predicted_for() -> None:
    run = overlapped(labelled(20), latency_ns=170 * MS)
    for number, action in run.run(200)[20:]:
        meant = action.stamp_ns + action.step_index * STEP
        assert abs(START + 20 * MS + number * STEP - meant) < STEP


def test_a_chunk_shorter_than_two_latencies_starves_the_arm_and_says_so() -> None:
    run = overlapped(labelled(10))
    # When the second chunk comes, all its ten actions are past; the third has an image of an arm that stands.
    assert labels(run.run(49)) == [(9 + i, (0, i)) for i in range(10)] + [(29 + i, (2, i)) for i in range(10)]
    assert run.controller.counts["late chunk"] == 2
    assert run.controller.counts["starved"] == 20


def test_actions_are_numbered_in_order_and_name_the_image_and_the_place_in_its_chunk() -> None:
    policy = labelled(20)
    steps = overlapped(policy).run(40)
    assert [action.sequence for _, action in steps] == list(range(31))
    by_chunk: dict[int, set[int]] = {}
    for _, action in steps:
        chunk, row = label_of(action)
        assert (action.step_index, action.chunk_size) == (row, 20)
        by_chunk.setdefault(chunk, set()).add(action.stamp_ns)
    assert by_chunk == {0: {START}, 1: {START + 9 * STEP}, 2: {START + 19 * STEP}, 3: {START + 29 * STEP}}


def test_the_first_action_of_a_chunk_carries_it_whole_with_its_timings() -> None:
    steps = overlapped(labelled(20)).run(30)
    firsts = [action for _, action in steps if action.chunk is not None]
    assert [label_of(action) for action in firsts] == [(0, 0), (1, 10), (2, 10)]
    for action in firsts:
        assert action.chunk is not None
        assert len(action.chunk.actions) == 20
        np.testing.assert_array_equal(action.chunk.actions[action.step_index], action.action)
        assert {"wait", "decode", "model"} <= set(action.timings)
    assert all(not action.timings for _, action in steps if action.chunk is None)


def test_the_next_inference_begins_when_the_horizon_is_past() -> None:
    policy = labelled(20)
    run = overlapped(policy, replace(OPEN_LOOP, horizon=8), latency_ns=100 * MS)
    steps = run.run(80)
    assert [number for number, _ in steps] == list(range(3, 80)), "the old chunk goes on until the new one is here"
    # It begins after action 7, with an image that was taken before it: that action is past for the new chunk, too.
    assert labels(steps)[:25] == (
        [(3 + row, (0, row)) for row in range(11)]
        + [(14 + row, (1, 4 + row)) for row in range(7)]
        + [(21 + row, (2, 4 + row)) for row in range(7)]
    )
    assert len(policy.seen) == 11


def test_the_ensemble_infers_without_a_pause() -> None:
    policy = labelled(20)
    overlapped(policy, ChunkSettings("ensemble", overlap=True), latency_ns=50 * MS).run(60)
    assert len(policy.seen) >= 30


def test_an_inference_takes_the_newest_frame() -> None:
    run = overlapped(labelled(20), latency_ns=310 * MS)
    run.run(60)
    waits = [action.timings["wait"] for _, action in run.steps if action.timings]
    assert max(waits) < STEP * 1e-9 + 0.005
    assert run.controller.overtaken > 20


def test_the_same_events_give_the_same_actions() -> None:
    for mode in ("open_loop", "ensemble", "blend"):
        chunk = ChunkSettings(mode, overlap=True)  # type: ignore[arg-type]
        runs = [overlapped(Recording(20), chunk, latency_ns=130 * MS).run(100) for _ in range(2)]
        for (number, one), (again, two) in zip(*runs, strict=True):
            assert (number, one.sequence, one.stamp_ns) == (again, two.sequence, two.stamp_ns)
            np.testing.assert_array_equal(one.action, two.action)


def test_without_overlap_the_clock_gives_no_action() -> None:
    controller = make(labelled(5))
    controller.offer("static", picture(START), START)
    acted(controller.step(START))
    assert controller.tick(START + STEP) is Hold.NOT_DUE


def test_the_rate_sets_the_time_of_a_step() -> None:
    controller = make(labelled(5), ControlSettings(rate=10.0, chunk=OPEN_LOOP))
    assert controller.step_ns == 100 * MS
    controller.apply(replace(controller.settings, rate=0.0))
    assert controller.step_ns == STEP


# -- starvation


def starved(policy: Starvation, **changes: Any) -> Overlapped:
    """An arm whose camera is lost after the first image, after the last action of its only chunk."""
    run = overlapped(labelled(5), replace(OPEN_LOOP, starvation=policy), latency_ns=100 * MS, **changes)
    run.run(1)
    run.camera = False
    assert labels(run.run(7)) == [(3 + row, (0, row)) for row in range(5)]
    return run


def test_hold_publishes_nothing_until_the_watchdog_stops_the_arm() -> None:
    run = starved("hold", watchdog_ns=500 * MS)
    assert run.run(40) == []
    ((when, stop),) = run.stops
    assert stop.stop
    last_moved = START + 20 * MS + 7 * STEP
    assert 500 * MS < when - last_moved <= 500 * MS + STEP
    assert run.controller.counts["starved"] == 16


def test_zero_publishes_no_motion_at_each_step_until_the_watchdog() -> None:
    run = starved("zero", watchdog_ns=500 * MS)
    steps = run.run(40)
    assert [number for number, _ in steps] == list(range(8, 24))
    for number, action in steps:
        assert action.stamp_ns == START + 20 * MS + number * STEP
        assert action.stop
        assert not action.action[:6].any()
        assert not action.normalized[:6].any()
    assert [action.sequence for _, action in steps] == list(range(5, 5 + len(steps)))
    assert len(run.stops) == 1


def test_stop_publishes_one_action_at_once_and_then_nothing() -> None:
    run = starved("stop")
    ((number, stop),) = run.run(40)
    assert number == 8
    assert stop.stop
    assert not run.stops
    assert run.controller.counts["starved"] == 1


@pytest.mark.parametrize("policy", ["hold", "zero", "stop"])
def test_an_arm_that_starved_goes_on_with_the_next_chunk(policy: Starvation) -> None:
    run = starved(policy)
    run.run(10)
    run.camera = True
    actions = [action for _, action in run.run(10) if not action.stop]
    assert label_of(actions[0]) == (1, 0)


def test_an_arm_that_waits_for_its_first_chunk_does_not_starve() -> None:
    run = overlapped(labelled(20), replace(OPEN_LOOP, starvation="stop"))
    assert run.run(8) == []
    assert not run.controller.counts


# -- nothing obsolete


def by_stop(controller: Controller, now: int) -> None:
    controller.stop(now)


def by_reset(controller: Controller, now: int) -> None:
    controller.new_episode()


def by_instruction(controller: Controller, now: int) -> None:
    controller.set_instruction("push", now)


def by_empty_instruction(controller: Controller, now: int) -> None:
    controller.set_instruction("", now)
    controller.set_instruction("pick", now)


def by_disabling(controller: Controller, now: int) -> None:
    controller.apply(replace(controller.settings, enabled=False))
    controller.apply(replace(controller.settings, enabled=True))


def by_another_mode(controller: Controller, now: int) -> None:
    controller.apply(replace(controller.settings, chunk=ChunkSettings("blend", overlap=True)))


def by_reactivation(controller: Controller, now: int) -> None:
    controller.restart()


INTERRUPTIONS: list[Callable[[Controller, int], None]] = [
    by_stop,
    by_reset,
    by_instruction,
    by_empty_instruction,
    by_disabling,
    by_another_mode,
    by_reactivation,
]


@pytest.mark.parametrize("interrupt", INTERRUPTIONS)
def test_nothing_that_was_planned_before_an_interruption_leaves_after_it(
    interrupt: Callable[[Controller, int], None],
) -> None:
    policy = labelled(20)
    run = overlapped(policy)
    run.run(25)
    assert run.infers, "one more chunk is on its way"
    known = len(policy.seen)
    interrupt(run.controller, run.now)
    later = run.run(30)
    assert later, "it goes on"
    assert min(label_of(action)[0] for _, action in later) >= known
    assert run.controller.counts["superseded during inference"] == 1


def test_nothing_obsolete_leaves_after_a_clock_jump() -> None:
    run = overlapped(labelled(20))
    run.run(25)
    back = START - 500_000 * MS
    assert run.controller.tick(back) is Hold.STARVED
    assert run.controller.last_action is None
    assert [run.controller.tick(back + i * STEP) for i in range(1, 20)] == [Hold.STARVED] * 19


def test_nothing_obsolete_leaves_after_a_failure() -> None:
    policy = labelled(20)
    run = overlapped(policy)
    run.run(15)
    run.controller.offer("static", picture(run.now), run.now)
    request = Request(run.controller.episode, None, "pick", None, 1)  # type: ignore[arg-type]
    run.controller.failed(request, "inference failed")
    assert run.controller.tick(run.now) is Hold.STARVED


def test_while_disabled_no_step_gives_an_action() -> None:
    run = overlapped(labelled(20))
    run.run(15)
    run.controller.apply(replace(run.controller.settings, enabled=False))
    assert run.run(20) == []
    assert run.controller.tick(run.now) is Hold.DISABLED


# -- limits and history


def test_limits_that_change_apply_to_actions_that_were_planned_before() -> None:
    run = overlapped(labelled(20), limits=Limits(rotation=1.0))
    run.run(14)
    assert run.steps[-1][1].saturated == 0
    run.controller.apply(replace(run.controller.settings, limits=Limits(rotation=0.01)))
    ((_, action),) = run.run(1)
    assert np.linalg.norm(action.action[3:6]) <= 0.01 + 1e-12
    assert action.saturated == 0b1000
    assert action.normalized[3] == pytest.approx(0.01 / 0.05)


def test_the_history_holds_what_was_executed_in_order() -> None:
    policy = Recording(20)
    chunk = ChunkSettings("ensemble", overlap=True)
    run = overlapped(policy, chunk, latency_ns=100 * MS, limits=Limits(0.02, 0.05))
    run.run(40)
    window = policy.seen[-1].history
    assert window is not None
    assert window.valid.all()
    executed = [action.normalized for _, action in run.steps]
    matches = [i for i in range(len(executed)) if np.array_equal(executed[i : i + 16], window.actions)]
    assert len(matches) == 1


def test_a_mean_of_predictions_is_said_in_the_models_words_again() -> None:
    policy = Recording(20)
    for chunk in (ChunkSettings("ensemble", overlap=True), ChunkSettings("blend", overlap=True, blend_steps=10)):
        run = overlapped(policy, chunk, latency_ns=60 * MS)
        for _, action in run.run(60)[5:]:
            np.testing.assert_allclose(
                action.normalized[:6], policy.profile.normalize(action.action[None])[0, :6], atol=1e-7
            )
            assert action.normalized[6] == action.action[6]
            assert action.action[6] in (0.0, 1.0)


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
@pytest.mark.parametrize("chunk", [ChunkSettings(), ChunkSettings("ensemble"), OPEN_LOOP])
def test_finite_predictions_that_give_no_finite_action_give_none(chunk: ChunkSettings) -> None:
    policy, said = Recording(20), np.zeros((20, 7), np.float32)
    policy.change = lambda _: ActionChunk(
        said, np.full((20, 7), 1.7e308 * (-1) ** len(policy.seen)), {"model": 1.0}
    )
    controller = make(policy, ControlSettings(chunk=chunk, limits=Limits(translation=1e308)))
    for i in range(5):
        controller.offer("static", picture(START + i * STEP), START + i * STEP)
        assert not isinstance(controller.step(START + i * STEP), Action)
        assert not isinstance(controller.tick(START + i * STEP), Action)
    assert controller.counts["not finite"] == 5
    assert controller.sequence == 0


# -- paced by images


def test_an_ensemble_paced_by_images_answers_each_with_the_mean_of_all_predictions_for_it() -> None:
    policy = labelled(5)
    controller = make(policy, ControlSettings(chunk=ChunkSettings("ensemble", ensemble_decay=0.0)))
    actions = []
    for i in range(8):
        now = START + i * STEP
        controller.offer("static", picture(now), now)
        actions.append(acted(controller.step(now)))
    assert [action.stamp_ns for action in actions] == [START + i * STEP for i in range(8)]
    # Step i has the predictions of the chunks i-4 to i.
    means = [np.mean(range(max(0, i - 4), i + 1)) for i in range(8)]
    np.testing.assert_allclose([action.normalized[0] for action in actions], means, rtol=1e-6)
    assert len(policy.seen) == 8
    assert {action.step_index for action in actions} == {0}


def test_a_blend_paced_by_images_smooths() -> None:
    controller = make(labelled(5), ControlSettings(chunk=ChunkSettings("blend", blend_steps=1)))
    found = []
    for i in range(4):
        now = START + i * STEP
        controller.offer("static", picture(now), now)
        found.append(float(acted(controller.step(now)).normalized[0]))
    np.testing.assert_allclose(found, [0, 0.5, 1.5, 2.5], rtol=1e-6)


def test_a_chunk_that_comes_too_late_gives_no_action_paced_by_images() -> None:
    controller = make(labelled(2), ControlSettings(chunk=ChunkSettings("ensemble"), max_age_ns=10**10))
    controller.offer("static", picture(START + 2 * STEP), START + 2 * STEP)
    for i in range(2):
        controller.offer("static", picture(START + (3 + i) * STEP), START + 20 * STEP)
        request = controller.plan(START + 20 * STEP)
        assert isinstance(request, Request)
        acted(controller.commit(request, controller.infer(request), START + (20 + i) * STEP))
    controller.offer("static", picture(START + 6 * STEP), START + 22 * STEP)  # a camera with a delay of 16 steps
    assert controller.step(START + 22 * STEP) is Hold.LATE
    assert controller.counts["late chunk"] == 1


# -- settings


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match=r"set chunk\.mode to open_loop, ensemble or blend"):
        ChunkSettings("first", overlap=True)
    with pytest.raises(ValueError, match=r"chunk\.horizon is 11 but the model predicts 10"):
        ChunkSettings("blend", horizon=11, overlap=True).check(10)
    with pytest.raises(ValueError, match=r"chunk\.blend_steps is 11 but the model predicts 10"):
        ChunkSettings("blend", blend_steps=11).check(10)
    with pytest.raises(ValueError, match="more than one action"):
        ChunkSettings("ensemble", overlap=True).check(1)
    with pytest.raises(ValueError, match="at least 1"):
        ChunkSettings("open_loop", horizon=0)
    ChunkSettings("first", horizon=100, blend_steps=100).check(1)


@pytest.mark.parametrize("interrupt", [by_stop, by_disabling])
def test_a_session_that_works_through_its_chunk_does_not_go_on_with_it_after_an_interruption(
    interrupt: Callable[[Controller, int], None],
) -> None:
    policy = labelled(5)
    controller = make(policy, ControlSettings(chunk=ChunkSettings("open_loop", horizon=4)))
    for i in range(2):
        controller.offer("static", picture(START + i * STEP), START + i * STEP)
        action = acted(controller.step(START + i * STEP))
    assert action.step_index == 1
    interrupt(controller, START + 2 * STEP)
    controller.offer("static", picture(START + 2 * STEP), START + 2 * STEP)
    again = acted(controller.step(START + 2 * STEP))
    assert again.step_index == 0
    assert again.chunk is not None


def test_an_output_of_the_wrong_shape_reaches_no_schedule() -> None:
    policy = labelled(5)
    controller = make(policy, ControlSettings(chunk=OPEN_LOOP))
    policy.change = lambda chunk: replace(chunk, actions=chunk.actions[:, :6])
    controller.offer("static", picture(START), START)
    with pytest.raises(ActionError):
        controller.step(START)
    assert controller.tick(START) is Hold.STARVED
