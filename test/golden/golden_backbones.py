"""Backbones of the golden cases as plain transformers models, for tests of parts that need no whole RoboVLM."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from golden_cases import FOLDER, state_dict
from torch import Tensor
from torch.nn import functional
from transformers import AutoConfig, AutoTokenizer, Kosmos2ForConditionalGeneration


def part(case: str, prefix: str) -> dict[str, Tensor]:
    """The weights of a case below ``model.PREFIX``, without it."""
    prefix = f"model.{prefix}."
    weights = state_dict(case)
    return {key.removeprefix(prefix): tensor for key, tensor in weights.items() if key.startswith(prefix)}


@cache
def kosmos(case: str, folder: str = "kosmos2_tiny") -> Any:
    """Kosmos-2 with the weights of a case, in evaluation mode."""
    model = Kosmos2ForConditionalGeneration(AutoConfig.from_pretrained(FOLDER / "vlm" / folder))
    model.load_state_dict(part(case, "backbone"), strict=True)
    return model.eval()


def tokenizer(folder: str = "kosmos2_tiny") -> Any:
    return AutoTokenizer.from_pretrained(FOLDER / "vlm" / folder)


@torch.no_grad()
def kosmos_image_tokens(model: Any, pixels: Tensor) -> Tensor:
    """Preprocessed images ``(b, 3, S, S)`` -> ``(b, V, D)``."""
    patches = model.vision_model(pixels).last_hidden_state
    patches = functional.normalize(model.vision_model.model.post_layernorm(patches), dim=-1)
    tokens: Tensor = model.image_to_text_projection(patches)[0]
    return tokens
