"""Finds the files that are installed beside the package, wherever it was installed from."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path


def share_folders() -> Iterator[Path]:
    """Folders that may hold ``config/``, nearest first: ROS 2 overlays, a pip installation, a source checkout."""
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        if prefix:
            yield Path(prefix) / "share" / "robovlms_ros"
    yield Path(sys.prefix) / "share" / "robovlms_ros"
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "package.xml").is_file():
        yield checkout


def find_shared(*parts: str) -> Path | None:
    """The first existing ``parts`` below a share folder, or None."""
    return next((path for folder in share_folders() if (path := folder.joinpath(*parts)).exists()), None)


def shared_files(folder: str, pattern: str) -> dict[str, Path]:
    """Files matching ``pattern`` in every share folder's ``folder``, by stem; the nearest one wins."""
    found: dict[str, Path] = {}
    for share in share_folders():
        for path in sorted((share / folder).glob(pattern)):
            found.setdefault(path.stem, path)
    return found
