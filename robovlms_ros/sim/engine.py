"""MuJoCo itself, or one sentence about how to get it: every module of this room imports it from here."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

from robovlms_ros.sim.errors import SimulatorError

if TYPE_CHECKING:
    import mujoco

INSTALL = "pip install 'robovlms_ros[sim]'"


def _import_mujoco() -> None:
    try:
        importlib.import_module("mujoco")
    except ModuleNotFoundError as error:
        raise SimulatorError(f"the simulator needs MuJoCo, which is not installed: {INSTALL}") from error
    except Exception:
        # It has tried to load what MUJOCO_GL names. Physics works without, and who wants images is told what is
        # wrong by `robovlms_ros.sim.rendering`.
        chosen = os.environ.pop("MUJOCO_GL", None)
        if chosen is None:
            raise
        try:
            importlib.import_module("mujoco")
        finally:
            os.environ["MUJOCO_GL"] = chosen


if not TYPE_CHECKING:
    _import_mujoco()
    import mujoco

__all__ = ["mujoco"]
