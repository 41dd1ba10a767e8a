"""A Kosmos-2 with random weights, in the proportions of the published one, and an image to show it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.config_reader import parse_config
from robovlms_ros.model.errors import ModelError
from robovlms_ros.model.untrained import make_tokenizer
from robovlms_ros.model.vlm_builder import build_model
from robovlms_ros.policy.share import find_shared

INSTRUCTION = "pick up the red block and place it on the blue one"
# Parts of the full widths. Depths, tokens and the output layer's share stay as they are, but for "tiny".
DIVISORS = {"full": 1, "quarter": 4, "tiny": 32}


def write_backbone(folder: Path, scale: str) -> None:
    """Kosmos-2's ``config.json`` and a tokenizer of its kind; ``full`` has the published sizes."""
    part, layers = DIVISORS[scale], 2 if scale == "tiny" else 24
    text = {
        "embed_dim": 2048 // part,
        "ffn_dim": 8192 // part,
        "attention_heads": max(32 // part, 1),
        "layers": layers,
        "vocab_size": 65037 // part,
    }
    vision = {
        "hidden_size": 1024 // part,
        "intermediate_size": 4096 // part,
        "num_attention_heads": max(16 // part, 1),
        "num_hidden_layers": layers,
    }
    make_tokenizer().save_pretrained(folder)
    content = {"model_type": "kosmos-2", "text_config": text, "vision_config": vision}
    (folder / "config.json").write_text(json.dumps(content))


def recipe(scale: str, history: str = "post") -> dict[str, Any]:
    """The configuration of the published model, its policy head scaled along; raises `ModelError` without it."""
    published = find_shared("config", "models", "kosmos_ph.json")
    if published is None:
        raise ModelError("config/models/kosmos_ph.json is not installed beside the package; install it whole")
    content: dict[str, Any] = json.loads(published.read_text())
    content["act_head"] |= {"history_type": history, "hidden_size": 1024 // DIVISORS[scale]}
    content["window_size"] = 8 if history == "pre" else 16
    return content


def make_model(scale: str, history: str = "post", backbone: Any = None, device: str = "cpu") -> BaseRoboVLM:
    """The published recipe with random weights; ``backbone`` is taken over if given."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_backbone(folder, scale)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            config = parse_config(recipe(scale, history))
            model = build_model(config, folder, device=device if backbone is None else "meta")
    if backbone is not None:
        model.act_head.to_empty(device=device)
        model.action_token = torch.nn.Parameter(torch.zeros(model.hidden_size, device=device))
        model.backbone = backbone
    return model.requires_grad_(False)


def camera_image(seed: int = 0) -> NDArray[np.uint8]:
    """A photograph-like image ``(480, 640, 3)``: smooth shapes and a little noise."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 255, (12, 16, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((640, 480), Image.Resampling.BICUBIC), np.float32)
    return np.clip(smooth + random.normal(0, 3, smooth.shape), 0, 255).astype(np.uint8)
