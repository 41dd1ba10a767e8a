from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from robovlms_ros.model.config import RoboVLMConfig
from robovlms_ros.model.config_reader import parse_config

MakeConfig = Callable[..., RoboVLMConfig]


@pytest.fixture
def make_config() -> MakeConfig:
    """A small configuration for a head; keyword arguments are keys of its ``act_head``."""

    def make(head: str, window: int = 4, chunk: int = 3, **act_head: Any) -> RoboVLMConfig:
        return parse_config(
            {
                "robovlm_name": "RoboKosMos",
                "model": "kosmos",
                "vlm": {"pretrained_model_name_or_path": "vlm"},
                "tokenizer": {"pretrained_model_name_or_path": "vlm"},
                "act_head": {"type": head, "hidden_size": 16, **act_head},
                "window_size": window,
                "fwd_pred_next_n": chunk,
                "norm_action": True,
                "norm_min": -0.65,
                "norm_max": 0.65,
            }
        )

    return make
