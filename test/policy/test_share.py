from __future__ import annotations

from pathlib import Path

import pytest

from robovlms_ros.policy.share import find_shared, shared_files


def overlay(prefix: Path, name: str, content: str) -> None:
    folder = prefix / "share" / "robovlms_ros" / "config" / "robots"
    folder.mkdir(parents=True)
    (folder / name).write_text(content)


def test_the_nearest_overlay_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overlay(tmp_path / "near", "calvin.yaml", "near")
    overlay(tmp_path / "far", "calvin.yaml", "far")
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{tmp_path / 'near'}:{tmp_path / 'far'}")
    found = find_shared("config", "robots", "calvin.yaml")
    assert found is not None
    assert found.read_text() == "near"


def test_an_overlay_adds_to_what_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overlay(tmp_path, "mine.yaml", "mine")
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    assert {"mine", "calvin", "widowx_bridge", "google_robot"} <= shared_files("config/robots", "*.yaml").keys()


def test_a_checkout_works_without_any_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)
    assert find_shared("config", "robots", "calvin.yaml") is not None
    assert find_shared("config", "robots", "none.yaml") is None
