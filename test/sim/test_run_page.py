from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image

from robovlms_ros.sim.run_page import write_film, write_page
from robovlms_ros.sim.run_record import EpisodeRecord, RunRecord


def record(count: int = 2, instruction: str = "pick up the red block") -> RunRecord:
    random = np.random.default_rng(0)
    frames = [
        {name: random.integers(0, 255, (32, 32, 3), np.uint8) for name in ("static", "hand")} for _ in range(4)
    ]
    episodes = [
        EpisodeRecord(
            number=number,
            seed=10 + number,
            family="pick",
            instruction=instruction,
            succeeded=number == 0,
            steps=3,
            why="" if number == 0 else "its steps are used up",
            frames=frames,
            latencies=[0.01, 0.02, 0.03],
            heights=[0.2, 0.1, 0.1, 0.15],
            openings=[1.0, 1.0, 0.5, 0.5],
        )
        for number in range(count)
    ]
    return RunRecord(episodes, {"model_id": "Test/FC@1"}, {"command": "robovlms demo"})


def test_the_page_tells_everything_and_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    write_page(tmp_path / "index.html", record())
    page = (tmp_path / "index.html").read_text()
    for said in ("1/2", "20 ms", "its steps are used up", "Test/FC@1", "robovlms demo", ">red</span> block"):
        assert said in page
    assert page.count("data:image/gif;base64,") == page.count("data:image/jpeg;base64,") == 2
    sources = re.findall("""(?:src|href)='([^']*)""", page)
    assert len(sources) == 6
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert "url(" not in page


def test_an_instruction_cannot_become_part_of_the_page(tmp_path: Path) -> None:
    write_page(tmp_path / "index.html", record(instruction="<script>alert('x')</script>"))
    assert "<script" not in (tmp_path / "index.html").read_text()


def test_the_film_has_all_episodes_and_stays_at_each_end(tmp_path: Path) -> None:
    write_film(tmp_path / "run.gif", record())
    with Image.open(tmp_path / "run.gif") as film:
        assert 0 < film.n_frames <= 2 * (4 + 15)  # equal frames are merged
        seconds = 0.0
        for index in range(film.n_frames):
            film.seek(index)
            seconds += film.info["duration"] / 1000
        assert seconds > 2 * 15 * 0.04


def test_a_run_in_which_nothing_was_seen_still_has_a_page_and_a_summary(tmp_path: Path) -> None:
    empty = RunRecord([EpisodeRecord(0, 0, "pick", "pick up the red block", False, 0, "no step")])
    write_page(tmp_path / "index.html", empty)
    write_film(tmp_path / "none.gif", empty)
    assert empty.summary() == "success 0/1, latency p50 nan ms"
