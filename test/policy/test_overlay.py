"""The picture of what a model saw and answered: any image, any text, any numbers, and what must be seen in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import ImageFont

from robovlms_ros.policy import overlay_text
from robovlms_ros.policy.overlay import ORANGE, OverlayView, draw_overlay, overlay_size
from robovlms_ros.policy.overlay_text import drawable, font, wrapped
from robovlms_ros.policy.safety import Limits

MOTION = np.array([[0.01, -0.005, 0.002, 0.05, -0.02, 0.01, 0.8]])
BLACK = np.zeros((480, 640, 3), np.uint8)


def view(actions: NDArray[np.float64] = MOTION, saturated: int = 0, **changes: object) -> OverlayView:
    bits = np.zeros(len(actions), np.uint32)
    bits[0] = saturated
    made = OverlayView("pick up the block", "acting", 3, 17, actions, bits, 0.085, "base_link", Limits(0.02, 0.1))
    return replace(made, **changes)  # type: ignore[arg-type]


def coloured(picture: NDArray[np.uint8], colour: tuple[int, int, int]) -> int:
    return int((picture == colour).all(axis=-1).sum())


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((480, 640), (480, 640)),
        ((334, 640), (334, 640)),
        ((224, 224), (448, 448)),
        ((720, 1280), (360, 640)),
        ((1080, 1920), (540, 960)),
        ((48, 64), (336, 448)),
        ((1, 1), (300, 300)),
        ((1, 4096), (1, 820)),
    ],
)
def test_pictures_have_a_size_that_can_be_read(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert overlay_size(*size) == expected
    picture = draw_overlay(np.zeros((*size, 3), np.uint8), view())
    assert (picture.shape, picture.dtype) == ((*expected, 3), np.uint8)


@given(
    st.integers(1, 700),
    st.integers(1, 700),
    st.text(max_size=600),
    st.text(max_size=80),
    st.lists(st.floats(-1e6, 1e6), min_size=7, max_size=7),
    st.integers(1, 12),
    st.integers(0, 2**32 - 1),
    st.sampled_from([Limits(), Limits(0.02, 0.1)]),
)
@settings(max_examples=60, deadline=None)
def test_whatever_is_shown_it_can_be_drawn(
    height: int, width: int, text: str, state: str, action: list[float], count: int, bits: int, limits: Limits
) -> None:
    actions = np.tile(np.array(action), (count, 1))
    shown = view(actions, bits, instruction=text, state=state, frame=text[:20], limits=limits, latency=None)
    picture = draw_overlay(np.full((height, width, 3), 127, np.uint8), shown)
    assert picture.shape[:2] == overlay_size(height, width)


@pytest.mark.parametrize(
    "text",
    ["ارفع المكعب", "拿起红色方块", "grab the 🍎", "\u202eevil", "a\x00b\ud800\n", "", "x" * 512, "e\u0301" * 99],
)
def test_any_script_is_drawn_or_boxed(text: str) -> None:
    draw_overlay(BLACK, view(instruction=text))


def test_the_image_is_left_alone_and_what_is_not_covered_stays() -> None:
    image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    before = image.copy()
    picture = draw_overlay(image, view())
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(picture[100:300], image[100:300])
    assert (picture[-20:, :300] != image[-20:, :300]).any()


def test_arrays_that_are_views_can_be_drawn_over() -> None:
    image = np.random.default_rng(0).integers(0, 255, (480, 1280, 3), np.uint8)
    half = image[::-1, ::2]
    np.testing.assert_array_equal(draw_overlay(half, view()), draw_overlay(half.copy(), view()))


@pytest.mark.parametrize("dimension", range(7))
def test_a_dimension_that_was_limited_is_marked(dimension: int) -> None:
    actions = np.full((1, 7), 0.8)
    free = coloured(draw_overlay(BLACK, view(actions, limits=Limits(1, 1))), ORANGE)
    one = coloured(draw_overlay(BLACK, view(actions, 1 << dimension, limits=Limits(1, 1))), ORANGE)
    both = coloured(draw_overlay(BLACK, view(actions, 1 << dimension | 1 << (dimension + 1) % 7)), ORANGE)
    assert free == 0
    assert both > one > 100


@pytest.mark.parametrize("dimension", range(7))
def test_every_dimension_is_seen(dimension: int) -> None:
    still = np.zeros((1, 7))
    moved = still.copy()
    moved[0, dimension] = 0.9
    pictures = [draw_overlay(BLACK, view(actions, limits=Limits(1, 1))) for actions in (still, moved, -moved)]
    bars = [picture[-150:, 200:420] for picture in pictures]
    assert (bars[0] != bars[1]).any()
    assert (bars[1] != bars[2]).any()


def test_the_rest_of_the_chunk_is_seen() -> None:
    alone = draw_overlay(BLACK, view())
    with_more = draw_overlay(BLACK, view(np.vstack([MOTION, 2 * MOTION, -MOTION])))
    assert (alone[-150:, :150] != with_more[-150:, :150]).any()


def test_what_the_arm_waits_for_is_seen_and_is_not_green() -> None:
    acting, waiting = draw_overlay(BLACK, view()), draw_overlay(BLACK, view(state="waiting for images"))
    assert coloured(acting[:60], ORANGE) == 0
    assert coloured(waiting[:60], ORANGE) > 20


def test_an_action_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="7"):
        view(np.zeros((1, 6)))
    with pytest.raises(ValueError, match="masks"):
        OverlayView("", "", 0, 0, MOTION, np.zeros(2, np.uint32))


# -- text


def test_text_is_wrapped_at_spaces_and_cut_with_a_mark() -> None:
    face = font(14)
    width = 90.0
    lines = wrapped("pick up the red block and put it into the drawer", face, width, 2)
    assert len(lines) == 2
    assert lines[0] in ("pick up the", "pick up the red")
    assert lines[1].endswith("…")
    assert all(face.getlength(line) <= width for line in lines)


def test_short_text_is_one_line_and_empty_text_none() -> None:
    assert wrapped("pick", font(14), 200, 2) == ["pick"]
    assert wrapped(" \n ", font(14), 200, 2) == []


def test_a_word_wider_than_the_line_is_broken() -> None:
    lines = wrapped("x" * 60, font(14), 100, 3)
    assert len(lines) == 3
    assert wrapped("xyz", font(14), 0.0, 1) != []


def test_without_freetype_there_is_text_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    bitmap = getattr(ImageFont, "load_default_imagefont", ImageFont.load_default)()

    def absent(*_: object, **__: object) -> None:
        raise ImportError("the _imagingft C module is not installed")

    monkeypatch.setattr(overlay_text.ImageFont, "truetype", absent)
    monkeypatch.setattr(overlay_text.ImageFont, "load_default", lambda size=None: bitmap)
    overlay_text.font.cache_clear()
    try:
        assert drawable("拿 x", font(14)) == "? x"
        assert (draw_overlay(BLACK, view(instruction="拿起 the block")) != draw_overlay(BLACK, view())).any()
    finally:
        overlay_text.font.cache_clear()
