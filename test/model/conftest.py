"""The golden Kosmos-2 model."""

from __future__ import annotations

import pytest
from reference import golden_model

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM


@pytest.fixture(scope="session")
def golden_kosmos() -> BaseRoboVLM:
    """The case ``kosmos_lstm``."""
    return golden_model("kosmos_lstm")
