"""scripts/rendering.sh installs what the simulator draws with where it may, and otherwise says one command."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "'sudo apt install libegl1 libegl-mesa0 libgl1-mesa-dri'"


class Machine:
    """A PATH of our own: who we are, what apt does, and with which libraries the probe of a backend succeeds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "scripts").mkdir()
        shutil.copy(ROOT / "scripts/rendering.sh", folder / "scripts")
        self.path = folder / "path"
        self.path.mkdir()
        for name in ("bash", "dirname", "timeout", "touch", "cat", "env"):
            (self.path / name).symlink_to(shutil.which(name) or pytest.skip(f"{name} is not on this machine"))
        # The probe of a backend succeeds when there is a file named after it.
        self.script("python", f'[ -z "$MUJOCO_GL" ] && [ -e "{folder}/$3" ]')
        self.user(1000)

    def script(self, name: str, body: str) -> None:
        file = self.path / name
        file.write_text(f"#!{shutil.which('sh')}\n{body}\n")
        file.chmod(0o755)

    def user(self, number: int) -> None:
        self.script("id", f"echo {number}")

    def apt(self, body: str) -> None:
        self.script("apt-get", f'echo "$@" >>"{self.folder}/calls"\n{body}')

    @property
    def calls(self) -> list[str]:
        calls = self.folder / "calls"
        return calls.read_text().splitlines() if calls.exists() else []

    def run(self) -> tuple[int, list[str]]:
        done = subprocess.run(
            [self.folder / "scripts/rendering.sh", self.path / "python"],
            env={"PATH": str(self.path), "MUJOCO_GL": "osmesa"},
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.stdout == ""
        return done.returncode, done.stderr.splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("backend", ["egl", "osmesa"])
def test_a_machine_that_draws_is_left_alone_in_silence(machine: Machine, backend: str) -> None:
    machine.user(0)
    machine.apt("exit 1")
    (machine.folder / backend).touch()
    assert machine.run() == (0, [])
    assert machine.calls == []


def test_root_gets_the_libraries_installed(machine: Machine) -> None:
    machine.user(0)
    machine.apt(f'touch "{machine.folder}/egl"')
    code, said = machine.run()
    assert code == 0
    assert len(said) == 1
    assert "installing libegl1 libegl-mesa0 libgl1-mesa-dri" in said[0]
    assert machine.calls == ["install -y --no-install-recommends libegl1 libegl-mesa0 libgl1-mesa-dri"]


def test_apts_lists_are_fetched_where_there_are_none(machine: Machine) -> None:
    machine.user(0)
    updated, egl = machine.folder / "updated", machine.folder / "egl"
    machine.apt(f'case "$1" in update) touch "{updated}";; *) [ -e "{updated}" ] && touch "{egl}";; esac')
    assert machine.run()[0] == 0
    assert [call.split()[0] for call in machine.calls] == ["install", "update", "install"]


def test_osmesa_is_tried_where_egl_finds_no_device(machine: Machine) -> None:
    machine.user(0)
    machine.apt(f'case "$*" in *libosmesa6*) touch "{machine.folder}/osmesa";; esac')
    assert machine.run()[0] == 0
    assert machine.calls[-1] == "install -y --no-install-recommends libosmesa6"


def test_anybody_else_is_told_the_command_and_apt_is_left_alone(machine: Machine) -> None:
    machine.apt("exit 0")
    code, said = machine.run()
    assert code == 1
    assert len(said) == 1
    assert COMMAND in said[0]
    assert machine.calls == []


def test_root_is_told_the_command_where_apt_fails_or_is_not_there(machine: Machine) -> None:
    machine.user(0)
    code, said = machine.run()
    assert (code, len(said)) == (1, 1)
    machine.apt("exit 100")
    code, said = machine.run()
    assert code == 1
    assert COMMAND in said[-1]


def test_set_up_goes_on_without(tmp_path: Path) -> None:
    """The call in setup.sh, run as it stands there, after a rendering.sh that fails."""
    text = (ROOT / "scripts/setup.sh").read_text()
    call = text[text.index("drawing_stamp=") :]
    before = f'set -euo pipefail\nvenv={tmp_path}\nlog=/dev/null\ndigest() {{ echo 1; }}\nsay() {{ echo "$@"; }}'
    (tmp_path / "scripts").mkdir()
    script = tmp_path / "scripts/rendering.sh"
    for code, stamped in ((1, False), (0, True)):
        script.write_text(f"#!/bin/sh\nexit {code}\n")
        script.chmod(0o755)
        done = subprocess.run(
            ["bash", "-c", f"{before}\n{call}"], cwd=tmp_path, capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 0
        assert "ready" in done.stdout
        assert (tmp_path / ".drawing-1").exists() is stamped
