"""The simulated comparison of chunk modes: it says of each mode what is known of it."""

from __future__ import annotations

import numpy as np
import pytest

from robovlms_ros.bench.chunks import CHUNK, STEP_NS, measure, measures, motion, predicted, simulate
from robovlms_ros.policy.chunk_settings import ChunkSettings
from robovlms_ros.policy.null_policy import SCALE

STEPS = 300


def figures(chunk: ChunkSettings, delay: int) -> dict[str, float]:
    names = ("jerk", "jump", "jump95", "error", "way", "inferences", "late", "late chunks", "starved")
    return dict(zip(names, measures(simulate(chunk, (delay, delay), STEPS), STEPS), strict=True))


def test_predictions_follow_the_motion_and_depend_on_nothing_but_the_image() -> None:
    chunk = predicted(7)
    assert chunk.shape == (CHUNK, 7)
    assert np.array_equal(chunk, predicted(7))
    way = chunk[:, :3] * SCALE[:3]
    assert np.abs(way - motion(7 + np.arange(CHUNK))).max() < 0.005
    assert not np.array_equal(chunk, predicted(8))


def test_blending_jumps_less_than_switching_and_ensembling_shakes_least() -> None:
    switched, blended, averaged = (
        figures(ChunkSettings(mode, overlap=True), 100) for mode in ("open_loop", "blend", "ensemble")
    )
    assert blended["jump"] < switched["jump"]
    assert averaged["jerk"] < blended["jerk"] < switched["jerk"]
    for found in (switched, blended, averaged):
        assert found["starved"] == 0
        assert found["late"] > 0
        assert found["way"] in {"99%", "100%", "101%", "102%"}


def test_actions_meant_for_the_time_of_the_inference_are_skipped() -> None:
    found = figures(ChunkSettings("open_loop", overlap=True), 100)
    # 100 ms are three steps of 33 ms, and the place of the image in its step is a fourth, at the most.
    skipped = found["late"] / found["inferences"]
    assert 100e6 / STEP_NS <= skipped <= 100e6 / STEP_NS + 2


def test_an_arm_that_waits_for_each_answer_hardly_gets_on() -> None:
    assert figures(ChunkSettings("first"), 10)["way"] in {"100%", "101%"}
    assert float(figures(ChunkSettings("first"), 300)["way"].removesuffix("%")) < 15


def test_chunks_shorter_than_twice_the_inference_starve() -> None:
    assert figures(ChunkSettings("open_loop", overlap=True), 130)["starved"] == 0
    assert figures(ChunkSettings("open_loop", overlap=True), 300)["starved"] > 0


def test_the_table_is_the_same_every_time() -> None:
    first, second = measure(2.0, lambda what: None), measure(2.0, lambda what: None)
    assert first == second
    assert first[0].problems == ()
    reference = first[0].rows[0]
    assert reference[1] == "the motion itself"
    assert all(row[2] > reference[2] for row in first[0].rows[1:]), "no mode is smoother than the motion"


@pytest.mark.parametrize("mode", ["first", "open_loop"])
def test_without_overlap_nothing_is_late(mode: str) -> None:
    chunk = ChunkSettings("first") if mode == "first" else ChunkSettings("open_loop", horizon=CHUNK)
    found = figures(chunk, 100)
    assert found["late"] == found["late chunks"] == found["starved"] == 0
