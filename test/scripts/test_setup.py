"""scripts/setup.sh says in one sentence what is missing, before anything is half done."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ["bash", "cat", "cksum", "cut", "df", "awk", "dirname", "find", "grep", "ls", "sed", "sort", "tail", "tr"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with nothing installed, and a PATH folder holding only basic tools."""
    for name in ("scripts", "requirements", "msg", "action"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("pyproject.toml", "CMakeLists.txt", "package.xml"):
        shutil.copy(ROOT / name, tmp_path)
    tools = tmp_path / "path"
    tools.mkdir()
    for name in TOOLS:
        (tools / name).symlink_to(shutil.which(name) or pytest.skip(f"{name} is not on this machine"))
    _script(tools / "uname", 'case "$1" in -m) echo x86_64;; *) echo Linux;; esac')
    _script(tools / "python3", "exit 0")
    _script(tools / "cc", "exit 0")
    _script(tools / "c++", "exit 0")
    return tmp_path


def _script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def _setup(checkout: Path, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [checkout / "scripts/setup.sh"],
        env={"PATH": str(checkout / "path"), "HOME": os.environ.get("HOME", "/"), **environment},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert not (checkout / ".venv").exists()
    assert done.stdout == ""
    return done.returncode, done.stderr


def _refuses(checkout: Path, sentence: str, **environment: str) -> None:
    code, message = _setup(checkout, **environment)
    assert code == 1
    assert sentence in message
    assert len(message.splitlines()) == 1


def test_an_arm_machine_is_told_to_use_its_distribution(checkout: Path) -> None:
    _script(checkout / "path/uname", 'case "$1" in -m) echo aarch64;; *) echo Linux;; esac')
    _refuses(checkout, "colcon build")


def test_an_unknown_ros_lists_the_known_ones(checkout: Path) -> None:
    _refuses(checkout, "ROS=noetic is not one of: jazzy kilted", ROS="noetic")


def test_a_missing_python_names_the_packages(checkout: Path) -> None:
    (checkout / "path/python3").unlink()
    _refuses(checkout, "sudo apt install python3 python3-venv python3-dev")


@pytest.mark.parametrize(("marker", "package"), [("ensurepip", "python3-venv"), ("Python.h", "python3-dev")])
def test_a_python_without_its_parts_names_the_package(checkout: Path, marker: str, package: str) -> None:
    _script(checkout / "path/python3", f'case "$2" in *{marker}*) exit 1;; esac')
    _refuses(checkout, f"sudo apt install {package}")


def test_a_full_disk_is_said_with_the_figures(checkout: Path) -> None:
    (checkout / "path/df").unlink()
    _script(checkout / "path/df", "echo header; echo disk 100 60 40 60% /")
    _refuses(checkout, "40 MB of disk are free")


def test_a_missing_compiler_names_build_essential(checkout: Path) -> None:
    (checkout / "path/c++").unlink()
    _refuses(checkout, "sudo apt install build-essential")
