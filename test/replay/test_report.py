"""The report of a replay as a file: complete, by itself, bounded, and without a way in for what a bag says."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from replayed import CHUNK, NASTY, images_of, made_up

from robovlms_ros.replay.errors import ReplayError
from robovlms_ros.replay.report.content import script_data, spread
from robovlms_ros.replay.report.page import page, write_report
from robovlms_ros.replay.report.pictures import needed, pictures


class Elements(HTMLParser):
    """What a browser would make of it: elements with their attributes, and what scripts hold."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        inside = self.found[-1][0] if self.found else ""
        if data.strip():
            (self.scripts if inside == "script" else self.text).append(data)


def data_of(text: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_the_page_says_what_ran_and_how_it_went() -> None:
    result = made_up()
    text = " ".join(Elements(page(result, images_of(result))).text)
    for part in (
        "12 actions",
        "1 limited",
        "pick up the red block",
        "0.1.0",
        result.digest,
        "ab" * 32,
        "Against the recorded actions",
        "p50 50.0 ms",
        "dropped image",
        "policy head" if "head" in result.inferences[0].timings else "vision",
        "translation 50 mm",
    ):
        assert part in text
    assert "1 mm" in text  # the recorded x is a millimetre off


def test_nothing_is_loaded_from_anywhere() -> None:
    text = page(made_up(), images_of(made_up()))
    elements = Elements(text).found
    links = [value for _, attributes in elements for key, value in attributes.items() if key in ("src", "href")]
    assert links == ["data:,"]
    policy = next(a["content"] for tag, a in elements if tag == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert not re.search(r"https?://", text)


def test_texts_of_bags_and_models_never_become_elements() -> None:
    plain, nasty = made_up(), made_up(text=NASTY)
    expected, found = (Elements(page(result, images_of(result))) for result in (plain, nasty))
    assert [tag for tag, _ in found.found] == [tag for tag, _ in expected.found]
    assert not any("onerror" in attributes for _, attributes in found.found)
    assert len(found.scripts) == len(expected.scripts) == 2
    assert data_of(page(nasty))["inferences"][0]["instruction"] == NASTY


@settings(max_examples=10, deadline=None)
@given(st.text(min_size=1, max_size=60))
def test_whatever_a_bag_says_is_said_by_the_page(text: str) -> None:
    found = page(made_up(1, text))
    assert data_of(found)["inferences"][0]["instruction"] == text
    assert [tag for tag, _ in Elements(found).found].count("script") == 2


def test_script_data_is_in_the_units_of_the_plots() -> None:
    data = script_data(made_up())
    assert data["actions"]["v"][1][:4] == pytest.approx([10 * np.sin(0.3), 0, 0, np.degrees(0.01)], rel=1e-4)
    assert data["actions"]["t"][:3] == [0.0, 0.1, 0.2]
    assert data["recorded"]["v"][0][0] == pytest.approx(1.0)
    assert len(data["inferences"][0]["chunk"]) == CHUNK
    assert data["actions"]["inference"] == list(range(12))


def test_pictures_show_the_moment_they_belong_to() -> None:
    result = made_up(cameras=("static", "hand"))
    drawn = list(pictures(result, images_of(result), 4, 10**7))
    assert [picture.place for picture in drawn] == [0, 4, 7, 11]
    pixels = np.asarray(Image.open(io.BytesIO(drawn[1].jpeg)))
    assert pixels.shape == (drawn[1].height, drawn[1].width, 3)
    right = pixels[pixels.shape[0] // 2, -20]  # the hand camera, without drawing
    assert np.abs(right.astype(int) - (20 + 10 * 4)).max() < 6
    assert {reference.topic for reference in needed(result, 4)} == {"/static", "/hand"}


@pytest.mark.parametrize("budget", [40_000, 400_000])
def test_pictures_stay_within_their_bytes(budget: int) -> None:
    result = made_up(10)
    noise = np.random.default_rng(0)
    images = [(r, noise.integers(0, 256, (480, 640, 3), dtype=np.uint8)) for r in result.images()]
    drawn = list(pictures(result, images, 10, budget))
    assert len(drawn) == 10
    assert sum(len(picture.uri) for picture in drawn) <= budget * 1.01


def test_an_image_that_cannot_be_read_leaves_its_picture_out() -> None:
    result = made_up()
    some = [pair for pair in images_of(result) if pair[0].number != 2]
    assert [picture.place for picture in pictures(result, some, 12, 10**7)] == [0, 1, *range(3, 12)]
    assert data_of(page(result))["pictures"] == []


def test_a_replay_without_anything_is_still_a_page() -> None:
    empty = made_up().model_copy(
        update={"inferences": (), "actions": (), "recorded": (), "events": (), "counts": {}, "holds": {}}
    )
    text = " ".join(Elements(page(empty)).text)
    assert "0 actions" in text
    assert "Every image was answered." in text
    assert "holds no recorded actions" in text


def test_chosen_moments_are_spread_over_the_whole() -> None:
    assert spread(range(100), 5) == [0, 25, 50, 74, 99]
    assert spread(range(3), 5) == [0, 1, 2]
    assert spread(range(9), 0) == []
    assert spread(range(9), 1) == [0]


def test_a_report_that_cannot_be_written_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ReplayError, match=r"out\.html cannot be written: "):
        write_report(tmp_path / "file" / "out.html", made_up())
