"""Golden models loaded as users load them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import golden_cases
import pytest
import torch

from robovlms_ros.policy import VLAPolicy


@pytest.fixture(scope="session")
def golden_policy(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., VLAPolicy]:
    """Loads a golden model for a robot: ``golden_policy("kosmos_lstm", "calvin")``."""

    def load(case: str, robot: str | Path) -> VLAPolicy:
        folder = tmp_path_factory.mktemp("golden")
        config: dict[str, Any] = json.loads(golden_cases.config_path(case).read_text())
        (folder / "config.json").write_text(json.dumps(config))
        torch.save({"state_dict": golden_cases.state_dict(case)}, folder / "model.pt")
        files = folder / "config.json", folder / "model.pt"
        return VLAPolicy.from_upstream(*files, vlm_dir=golden_cases.FOLDER, robot=str(robot), preprocess="exact")

    return load
