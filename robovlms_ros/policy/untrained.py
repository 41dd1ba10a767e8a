"""Packs a small model with random weights, for tests, demos and wiring."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from robovlms_ros.policy.packing import Source, pack


def make_untrained(out: str | Path, robot: str = "calvin", **options: Any) -> Path:
    """Make a small Kosmos-2 with random weights, offline, and pack it into the folder ``out``.

    Its actions mean nothing; the configuration and the model card say so. ``options`` are those of
    `robovlms_ros.model.untrained.write_untrained`.
    """
    from robovlms_ros.model.untrained import write_untrained

    with tempfile.TemporaryDirectory() as scratch:
        made = write_untrained(Path(scratch), **options)
        return pack(Source(made.config, made.checkpoint), out, robot=robot)
