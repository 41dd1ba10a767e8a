"""The ``robovlms`` command, run the way a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import golden_cases
import pytest
import torch

from robovlms_ros.policy import VLAPolicy


def robovlms(*arguments: object) -> subprocess.CompletedProcess[str]:
    program = "from robovlms_ros.cli.main import main; main()"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize(
    "command",
    [
        *(
            [],
            ["pack"],
            ["train"],
            ["inspect"],
            ["untrained"],
            ["parity"],
            ["bench"],
            ["record-rerun"],
            ["import-bag"],
        ),
        *(["data", name] for name in ("info", "stats", "show", "convert", "import-calvin", "import-lerobot")),
        *(["sim", name] for name in ("expert", "record", "animate", "speed")),
        *(["evaluate", name] for name in ("offline", "calvin", "simpler")),
    ],
)
def test_help_shows_an_example_and_loads_no_torch(command: list[str]) -> None:
    program = (
        "import sys\nfrom robovlms_ros.cli.main import app\n"
        f"try: app({[*command, '--help']!r})\n"
        "except SystemExit as end:\n"
        "    print(end.code, sorted({'torch', 'transformers', 'rclpy', 'mujoco', 'pyarrow'} & sys.modules.keys()))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert result.stdout.splitlines()[-1] == "0 []"
    assert not command or f"robovlms {' '.join(command)} " in result.stdout.split("Example")[1]


def test_untrained_then_inspect(tmp_path: Path) -> None:
    made = robovlms("untrained", tmp_path / "model", "--hand", "--window", 4, "--image-size", 28)
    assert made.returncode == 0, made.stderr
    assert "UNTRAINED" in made.stdout
    shown = robovlms("inspect", tmp_path / "model")
    assert shown.returncode == 0, shown.stderr
    for text in ("RoboKosMos/LSTMDecoder@", "static, hand", "calvin", "untrained"):
        assert text in shown.stdout


def test_pack_with_a_further_head(tmp_path: Path) -> None:
    config = golden_cases.config_path("kosmos_lstm")
    torch.save({"state_dict": golden_cases.state_dict("kosmos_lstm")}, tmp_path / "model.pt")
    head = f"again={config}:{tmp_path / 'model.pt'}"
    out = tmp_path / "packed"
    result = robovlms("pack", config, tmp_path / "model.pt", out, "--robot", "google_robot", "--head", head)
    assert result.returncode == 0, result.stderr
    policy = VLAPolicy.load(out, policy_head="again")
    assert policy.card["available_heads"] == ["LSTMDecoder", "again"]
    assert policy.profile.name == "google_robot"


def test_an_error_is_one_line_and_exit_status_1(tmp_path: Path) -> None:
    result = robovlms("inspect", tmp_path / "none")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        f"error: model {tmp_path / 'none'} is not a folder; give a folder made by 'robovlms pack'"
    ]


def test_a_malformed_head_option_shows_its_form(tmp_path: Path) -> None:
    result = robovlms("pack", "c.json", "m.pt", tmp_path / "out", "--head", "fc")
    assert result.returncode == 1
    assert "NAME=CONFIG:CHECKPOINT" in result.stderr


@pytest.mark.parametrize(
    ("module", "command"), [("pyarrow", ["data", "info", "x"]), ("rosbags", ["import-bag", "x", "--out", "y"])]
)
def test_an_extra_that_is_not_installed_is_named(module: str, command: list[str]) -> None:
    program = (
        f"import sys\nsys.modules[{module!r}] = None\n"
        f"sys.argv[1:] = {command!r}\n"
        "from robovlms_ros.cli.main import main; main()"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert result.stderr == f"error: this command needs {module}: pip install 'robovlms_ros[data]'\n"
