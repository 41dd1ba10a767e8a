"""scripts/browser.sh installs a Chromium where it may, and otherwise says one command."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/browser.sh"


def run(folder: Path, **programs: str) -> tuple[int, str]:
    """Run it where there are only these programs, each the body of a shell script."""
    path = folder / "path"
    path.mkdir()
    for name in ("bash", "timeout", "grep", "chmod", "touch"):
        (path / name).symlink_to(shutil.which(name) or pytest.skip(f"{name} is not on this machine"))
    for name, body in programs.items():
        file = path / name.replace("_", "-")
        file.write_text(f"#!{shutil.which('sh')}\n{body}\n")
        file.chmod(0o755)
    done = subprocess.run(
        [shutil.which("bash") or "bash", SCRIPT],
        env={"PATH": str(path)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.returncode, done.stderr


def test_a_browser_that_is_there_is_enough(tmp_path: Path) -> None:
    assert run(tmp_path, chromium="exit 1", id="echo 0", apt_get=f"touch {tmp_path}/called") == (0, "")
    assert not (tmp_path / "called").exists()


def test_who_may_not_install_is_told_the_command(tmp_path: Path) -> None:
    code, said = run(tmp_path, id="echo 1000", apt_get=f"touch {tmp_path}/called")
    assert code == 1
    assert "'sudo apt install chromium'" in said
    assert not (tmp_path / "called").exists()


@pytest.mark.skipif(
    "ID=debian\n" not in (Path("/etc/os-release").read_text() if Path("/etc/os-release").exists() else ""),
    reason="installs on Debian only",
)
def test_root_installs_it(tmp_path: Path) -> None:
    browser = tmp_path / "path" / "chromium"
    install = f'[ "$1" = update ] && exit 0\n[ -e {tmp_path}/asked ] || {{ touch {tmp_path}/asked; exit 100; }}\n'
    code, said = run(tmp_path, id="echo 0", apt_get=f"{install}touch {browser}; chmod +x {browser}")
    assert code == 0
    assert "installing chromium" in said
