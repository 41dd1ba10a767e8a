"""``robovlms sim``, run the way a user runs it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mujoco")

PROGRAM = "from robovlms_ros.cli.main import main; main()"


def sim(*arguments: object, program: str = PROGRAM) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, "sim", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


def test_expert_counts_successes_of_both_families() -> None:
    done = sim("expert", "--seeds", 2)
    assert done.returncode == 0, done.stderr
    assert re.search(r"pick: 2/2, steps mean \d+\.\d max \d+", done.stdout)
    assert "stack: 2/2" in done.stdout


def test_record_then_animate(tmp_path: Path) -> None:
    done = sim("record", tmp_path / "data", "--episodes", 2, "--size", 16, "--workers", 1, "--encoding", "jpeg")
    if "draw camera images" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    assert "2 episodes" in done.stdout
    assert (tmp_path / "data" / "privileged.npz").is_file()
    done = sim("animate", tmp_path / "film.gif", "--size", 16)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "film.gif").stat().st_size > 1000


@pytest.mark.parametrize(
    ("module", "command", "cure"),
    [
        (
            "mujoco",
            ["expert"],
            "the simulator needs MuJoCo, which is not installed: pip install 'robovlms_ros[sim]'",
        ),
        (
            "pyarrow",
            ["record", "nowhere"],
            "recording needs pyarrow, which is not installed: pip install 'robovlms_ros[sim,data]'",
        ),
    ],
)
def test_what_is_not_installed_is_named_with_its_cure(module: str, command: list[str], cure: str) -> None:
    program = f"import sys; sys.modules[{module!r}] = None\n{PROGRAM}"
    done = sim(*command, program=program)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"error: {cure}"]


def test_speed_measures_the_sizes_it_is_given() -> None:
    done = sim("speed", 16, "--seconds", 0.2)
    if "draw camera images" in done.stderr:
        pytest.skip(done.stderr)
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"without images: \d+ steps/s, \d+\.\d ms of CPU each", lines[0])
    assert re.fullmatch(r"16 px with \w+: \d+ steps/s, \d+\.\d ms of CPU each", lines[1])
