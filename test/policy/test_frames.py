from __future__ import annotations

import numpy as np
import pytest

from robovlms_ros.policy.frames import MATCH_DEPTH, Frame, FrameBuffer


def frame(stamp: int) -> Frame:
    return Frame(stamp, lambda: np.zeros((1, 1, 3), np.uint8))


def stamps(buffer: FrameBuffer) -> dict[str, int] | None:
    found = buffer.newest()
    return found and {camera: chosen.stamp_ns for camera, chosen in found.frames.items()}


def two_cameras(static: list[int], hand: list[int], slop: int) -> FrameBuffer:
    buffer = FrameBuffer(["static", "hand"], slop)
    for camera, times in (("static", static), ("hand", hand)):
        for time in times:
            assert buffer.offer(camera, frame(time)) is None
    return buffer


def test_one_camera_gives_its_newest_frame_and_counts_those_overtaken() -> None:
    buffer = FrameBuffer(["static"], 0)
    for stamp in (1, 2, 3):
        buffer.offer("static", frame(stamp))
    assert stamps(buffer) == {"static": 3}
    assert buffer.overtaken == 2


def test_a_used_frame_is_never_offered_again() -> None:
    buffer = FrameBuffer(["static"], 0)
    buffer.offer("static", frame(1))
    chosen = buffer.newest()
    assert chosen is not None
    buffer.use(chosen)
    assert buffer.newest() is None
    assert buffer.offer("static", frame(1)) == "duplicate stamp"
    assert buffer.overtaken == 0


def test_stamps_that_go_back_are_refused_until_the_clock_is_known_to_have_jumped() -> None:
    buffer = FrameBuffer(["static"], 0)
    buffer.offer("static", frame(10))
    assert buffer.offer("static", frame(9)) == "backward stamp"
    buffer.clear()
    assert buffer.offer("static", frame(9)) is None


def test_two_cameras_wait_for_each_other() -> None:
    assert stamps(two_cameras([10], [], 5)) is None
    assert stamps(two_cameras([10], [12], 5)) == {"static": 10, "hand": 12}


def test_the_stamp_of_a_pair_is_the_older_one() -> None:
    found = two_cameras([10], [12], 5).newest()
    assert found is not None
    assert (found.stamp_ns, found.spread_ns) == (10, 2)


def test_frames_further_apart_than_the_slop_are_no_pair() -> None:
    buffer = two_cameras([10], [16], 5)
    assert buffer.newest() is None
    assert buffer.unmatched()
    assert stamps(two_cameras([10], [15], 5)) == {"static": 10, "hand": 15}


def test_a_camera_that_lags_by_some_frames_is_matched_with_older_frames_of_the_other() -> None:
    assert stamps(two_cameras([0, 33, 66, 99], [0, 33], 5)) == {"static": 33, "hand": 33}


def test_of_pairs_with_the_same_older_stamp_the_tightest_is_taken() -> None:
    assert stamps(two_cameras([297, 330], [297], 50)) == {"static": 297, "hand": 297}


def test_after_a_pair_both_cameras_must_deliver_anew() -> None:
    buffer = two_cameras([0], [0], 50)
    found = buffer.newest()
    assert found is not None
    buffer.use(found)
    buffer.offer("static", frame(33))
    assert buffer.newest() is None
    buffer.offer("hand", frame(33))
    assert stamps(buffer) == {"static": 33, "hand": 33}


def test_memory_is_bounded_while_one_camera_is_silent() -> None:
    buffer = two_cameras(list(range(100)), [], 5)
    assert buffer.overtaken == 100 - MATCH_DEPTH


def test_a_buffer_without_cameras_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one camera"):
        FrameBuffer([], 0)
