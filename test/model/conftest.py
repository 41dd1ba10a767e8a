"""The golden Kosmos-2 model, built once."""

from __future__ import annotations

import golden_cases
import pytest
import torch

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.config_reader import read_config
from robovlms_ros.model.vlm_builder import build_model, find_vlm_folder
from robovlms_ros.model.weights import assign_weights


@pytest.fixture(scope="session")
def golden_kosmos() -> BaseRoboVLM:
    """The case ``kosmos_lstm``, loaded the way a checkpoint is: built on the meta device, then assigned."""
    config = read_config(golden_cases.config_path("kosmos_lstm"))
    model = build_model(config, find_vlm_folder(config, golden_cases.FOLDER))
    tensors = {key.removeprefix("model."): value for key, value in golden_cases.state_dict("kosmos_lstm").items()}
    assign_weights(model, tensors, torch.float32, "golden weights")
    return model.requires_grad_(False)
