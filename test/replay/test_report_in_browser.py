"""The report in a real browser. The screenshot is kept in ``test-artifacts/`` to look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import Browser, browser, chromium
from replayed import NASTY, made_up

from robovlms_ros.replay.footage import load_footage
from robovlms_ros.replay.report.page import write_report

PROGRAM = chromium()
pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="no Chromium is installed: 'scripts/browser.sh', or 'sudo apt install chromium'"
)
ARTIFACTS = Path(__file__).resolve().parents[2] / "test-artifacts"


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert PROGRAM is not None
    with browser(PROGRAM, tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.fixture
def report(tmp_path: Path, tab: Browser) -> Path:
    """A report with a picture of every other inference, open in the tab."""
    frames = load_footage().frames
    result = made_up(28)
    images = [
        (reference, np.ascontiguousarray(frames[reference.number % len(frames)])) for reference in result.images()
    ]
    path = tmp_path / "report.html"
    write_report(path, result, images, count=14)
    tab.complaints.clear()
    tab.open(path)
    return path


def moment(tab: Browser) -> str:
    return str(tab.evaluate("document.getElementById('readout').querySelector('dd').textContent"))


@pytest.mark.usefixtures("report")
def test_it_loads_without_a_complaint_and_every_plot_is_drawn(tab: Browser) -> None:
    drawn = tab.evaluate(
        "[...document.querySelectorAll('#plots canvas')].map((canvas) => canvas.getContext('2d')"
        ".getImageData(0, 0, canvas.width, canvas.height).data.some((value) => value > 0))"
    )
    assert drawn == [True] * 8
    assert tab.evaluate("document.querySelector('#picture').naturalWidth") > 100
    assert tab.evaluate("document.querySelector('#no-picture').offsetHeight") == 0
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    tab.screenshot(ARTIFACTS / "replay_report.png", 1400, 1900)
    assert (ARTIFACTS / "replay_report.png").stat().st_size > 50_000
    assert tab.complaints == []


@pytest.mark.usefixtures("report")
def test_the_scrubber_moves_picture_values_and_clock(tab: Browser) -> None:
    assert moment(tab).startswith("0 of 28")
    before = tab.evaluate("document.querySelector('#picture').src")
    tab.evaluate("document.querySelector('#scrubber').focus()")
    tab.key("End")
    tab.wait_for("document.querySelector('#scrubber').value === '27'")
    assert moment(tab).startswith("27 of 28")
    assert tab.evaluate("document.querySelector('#clock').textContent") == "2.70 s"
    assert tab.evaluate("document.querySelector('#picture').src") != before
    tab.key("ArrowLeft")
    tab.wait_for("document.querySelector('#scrubber').value === '26'")
    assert "the nearest of 14" in tab.evaluate("document.querySelector('#caption').textContent")
    assert tab.complaints == []


@pytest.mark.usefixtures("report")
def test_a_click_goes_there_a_drag_zooms_and_play_goes_on(tab: Browser) -> None:
    left, top, width = tab.evaluate(
        "(({left, top, width}) => [left, top, width])"
        "(document.querySelector('#plots canvas').getBoundingClientRect())"
    )
    middle = (left + 48 + (width - 52) / 2, top + 50)
    tab.drag(middle)
    tab.wait_for("document.querySelector('#scrubber').value === '14'")
    tab.drag(middle, (middle[0] + 60, middle[1]), (middle[0] + 120, middle[1]))
    tab.wait_for("!document.querySelector('#whole').hidden")
    tab.evaluate("document.querySelector('#whole').click()")
    assert tab.evaluate("document.querySelector('#whole').hidden")
    tab.evaluate("document.querySelector('#play').click()")
    tab.wait_for("Number(document.querySelector('#scrubber').value) > 15")
    tab.evaluate("document.querySelector('#all-chunks').click()")
    assert tab.complaints == []


def test_what_a_bag_says_is_shown_and_never_run(tab: Browser, tmp_path: Path) -> None:
    path = tmp_path / "nasty.html"
    write_report(path, made_up(3, NASTY))
    tab.complaints.clear()
    tab.open(path)
    assert tab.evaluate("document.querySelector('#instruction').textContent") == f"“{NASTY}”"
    assert tab.evaluate("document.title").startswith("Replay of ")
    assert tab.evaluate("document.querySelectorAll('img').length") == 1
    assert tab.evaluate("document.scripts.length") == 2
    assert tab.complaints == []


def test_a_replay_that_gave_nothing_still_loads(tab: Browser, tmp_path: Path) -> None:
    path = tmp_path / "empty.html"
    write_report(
        path, made_up().model_copy(update={"inferences": (), "actions": (), "recorded": (), "events": ()})
    )
    tab.complaints.clear()
    tab.open(path)
    assert tab.evaluate("document.querySelector('#no-picture').offsetHeight") > 0
    assert tab.complaints == []
