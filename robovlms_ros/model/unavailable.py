"""Upstream's backbones that cannot be had, and what to use instead; their configurations are valid."""

from __future__ import annotations

from collections.abc import Mapping

_REMOTE_CODE = (
    "{model} exists only as code inside its own model repository, written for transformers 4, and code that comes "
    "with a model is never run here. Train {instead} instead; weights of {model} do not fit it"
)

# By ``robovlm_name``.
UNAVAILABLE_BACKBONES: Mapping[str, str] = {
    name: _REMOTE_CODE.format(model=model, instead=instead)
    for name, model, instead in (
        ("RoboQwen", "Qwen-VL", "RoboQwenVL (Qwen2.5-VL)"),
        ("RoboMoonDream", "moondream2", "RoboSmolVLM or RoboPaligemma, which are of its size,"),
        ("RoboUform", "uform-gen2-qwen-500m", "RoboSmolVLM, which comes with 256 and 500 million parameters,"),
    )
}
