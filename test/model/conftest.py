"""The golden Kosmos-2 model, and ``import reference`` for the plain algorithm."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def golden_kosmos() -> BaseRoboVLM:
    """The case ``kosmos_lstm``."""
    import reference

    return reference.golden_model("kosmos_lstm")
