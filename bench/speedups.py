"""What each exact speed-up gains. The reference side is upstream's algorithm written plainly, not upstream's code.

    python bench/speedups.py                 # Kosmos-2 at a quarter of its widths, in its proportions: 3 minutes
    python bench/speedups.py --scale full    # full size, random weights: 8 GB of memory, an hour
    python bench/speedups.py --scale tiny    # to try the script

Every row also compares the results; the exit status is 1 if they differ by more than float32 rounding.
"""

# ruff: noqa: T201  a benchmark prints

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import HEADER, Work, compare, machine
from PIL import Image
from torch import Tensor

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM, EpisodeState
from robovlms_ros.model.config_reader import parse_config
from robovlms_ros.model.vlm_builder import build_model
from robovlms_ros.policy.preprocess import ImagePreprocessor

ROOT = Path(__file__).resolve().parents[1]
INSTRUCTION = "pick up the red block and place it on the blue one"
# Parts of the full widths. Depths, tokens and the output layer's share stay as they are, but for "tiny".
DIVISORS = {"full": 1, "quarter": 4, "tiny": 32}
# Width of the sums in float32: what another order of additions may change.
ROUNDING = 2e-5
Row = tuple[str, Work, Work, float]


def backbone_config(scale: str) -> dict[str, Any]:
    """Kosmos-2's ``config.json``."""
    part, layers = DIVISORS[scale], 2 if scale == "tiny" else 24
    text = {
        "embed_dim": 2048 // part,
        "ffn_dim": 8192 // part,
        "attention_heads": 32 // part or 1,
        "layers": layers,
    }
    vision = {
        "hidden_size": 1024 // part,
        "intermediate_size": 4096 // part,
        "num_attention_heads": max(16 // part, 1),
        "num_hidden_layers": layers,
    }
    text["vocab_size"] = 65037 // part
    return {"model_type": "kosmos-2", "text_config": text, "vision_config": vision}


def make_model(scale: str, history: str = "post", backbone: Any = None) -> BaseRoboVLM:
    """The published recipe with random weights; ``backbone`` is taken over if given."""
    content = json.loads((ROOT / "config" / "models" / "kosmos_ph.json").read_text())
    content["act_head"] |= {"history_type": history, "hidden_size": 1024 // DIVISORS[scale]}
    content["window_size"] = 8 if history == "pre" else 16
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "config.json").write_text(json.dumps(backbone_config(scale)))
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).write_bytes((ROOT / "test/golden/vlm/kosmos2_tiny" / name).read_bytes())
        torch.manual_seed(0)
        model = build_model(parse_config(content), folder, device="cpu" if backbone is None else "meta")
    if backbone is not None:
        model.act_head.to_empty(device="cpu")
        model.action_token = torch.nn.Parameter(torch.zeros(model.hidden_size))
        model.backbone = backbone
    return model.requires_grad_(False)


def camera_image() -> np.ndarray:
    """A photograph-like image ``(480, 640, 3)``: smooth shapes and a little noise."""
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 255, (12, 16, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((640, 480), Image.Resampling.BICUBIC), np.float32)
    return np.clip(smooth + random.normal(0, 3, smooth.shape), 0, 255).astype(np.uint8)


def preprocessing(model: BaseRoboVLM) -> Row:
    """Pillow, a division and a normalisation; or a resize of bytes and one multiply-add."""
    image = [camera_image()]
    exact, fast = (
        ImagePreprocessor(model.config.image_size, model.image_mean, model.image_std, mode)
        for mode in ("exact", "fast")
    )
    scale = torch.tensor(model.image_std).view(3, 1, 1)
    return (
        "uint8 preprocessing, 640x480",
        lambda: exact(image) * scale,
        lambda: fast(image) * scale,
        1.01 / 255,
    )


def cameras(model: BaseRoboVLM, pixels: Tensor) -> Row:
    """One call of the vision tower per camera, or one for both."""
    return (
        "both cameras in one call",
        lambda: torch.cat([model.encode_images(pixels[:, :1]), model.encode_images(pixels[:, 1:])], dim=1),
        lambda: model.encode_images(pixels),
        ROUNDING,
    )


def instruction(model: BaseRoboVLM, images: Tensor) -> Row:
    """The language model's step with the instruction tokenised and embedded anew, or remembered."""
    text = model.embed_text(model.encode_text(INSTRUCTION))
    return (
        "instruction embedded once",
        lambda: model.fuse(images, model.embed_text(model.encode_text(INSTRUCTION))),
        lambda: model.fuse(images, text),
        0.0,
    )


def output_layer(model: BaseRoboVLM, images: Tensor) -> Row:
    """The whole language model with all hidden states kept, or the part of it that is read."""
    text = model.embed_text(model.encode_text(INSTRUCTION))
    sequence = model.arrange(images.flatten(1, 2), text).embeddings

    def whole() -> Tensor:
        output = model.backbone.text_model(inputs_embeds=sequence, output_hidden_states=True, use_cache=False)
        last: Tensor = output.hidden_states[-1]
        return last

    return "no output layer, no kept states", whole, lambda: model.language_model(sequence, None), 0.0


def behind_action(model: BaseRoboVLM, images: Tensor) -> Row:
    """The sequence with its end token, or only as far as ACT."""
    text = model.embed_text(model.encode_text(INSTRUCTION))
    sequence = model.arrange(images.flatten(1, 2), text)
    return (
        "nothing behind ACT",
        lambda: model.language_model(sequence.embeddings, None)[:, sequence.action],
        lambda: model.read(sequence),
        ROUNDING,
    )


def policy_head(model: BaseRoboVLM) -> Row:
    """The LSTM over the whole window again, or one step of staggered copies; the window slides."""
    head, window = model.act_head, model.config.window_size
    features = torch.randn(3 * window, 1, 1, model.hidden_size, generator=torch.Generator().manual_seed(1))
    memory = head.init_state()
    with torch.inference_mode():
        for feature in features[:window]:
            memory, _ = head.step(memory, feature)
    now, index = memory, window

    def again() -> Tensor:
        recent = features[index + 1 - window : index + 1].transpose(0, 1)
        pose: Tensor = head(recent).newest().pose
        return pose

    def step() -> Tensor:
        nonlocal now, index
        now, output = head.step(now, features[index])
        index += 1
        if index == len(features):
            now, index = memory, window
        pose: Tensor = output.pose
        return pose

    return f"staggered LSTM, W = {window}", again, step, ROUNDING


def interleaved(model: BaseRoboVLM, scale: str) -> Iterator[Row]:
    """``pre`` history: every image and every frame's tokens again, or what has not been seen yet."""
    pre = make_model(scale, "pre", model.backbone)
    text, window = pre.embed_text(pre.encode_text(INSTRUCTION)), pre.config.window_size
    side = pre.config.image_size
    frames = torch.randn(window + 1, 1, 1, 3, side, side, generator=torch.Generator().manual_seed(2))

    def plain(recent: Tensor) -> Tensor:
        blocks = [pre.arrange(pre.encode_images(frame).flatten(1, 2), text) for frame in recent]
        joined = torch.cat([block.embeddings for block in blocks], dim=1)
        hidden = pre.language_model(joined, None).view(1, len(blocks), -1, pre.hidden_size)
        return hidden[:, :, blocks[0].action]

    def remembered(memory: EpisodeState, frame: Tensor) -> Tensor:
        return pre.observe(memory, pre.encode_images(frame), text)[1]

    memory, memories = pre.init_state(), []
    with torch.inference_mode():
        for frame in frames[:window]:
            memories.append(memory)
            memory, _ = pre.observe(memory, pre.encode_images(frame), text)
    growing = f"`pre`, frame {window} of {window} (image ring, keys and values)"
    yield growing, lambda: plain(frames[:window]), lambda: remembered(memories[-1], frames[window - 1]), ROUNDING
    sliding = f"`pre`, sliding window of {window} (image ring)"
    yield sliding, lambda: plain(frames[1:]), lambda: remembered(memory, frames[window]), ROUNDING


def rows(scale: str) -> Iterator[Row]:
    """All comparisons."""
    model = make_model(scale)
    side = model.config.image_size
    pixels = torch.randn(1, 2, 3, side, side, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        images = model.encode_images(pixels)
    yield preprocessing(model)
    yield cameras(model, pixels)
    yield instruction(model, images)
    yield output_layer(model, images)
    yield behind_action(model, images)
    yield policy_head(model)
    yield from interleaved(model, scale)


def main(arguments: list[str] | None = None) -> int:
    """Print the table; 0 if all results agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=tuple(DIVISORS), default="quarter")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(f"{machine()}; Kosmos-2 with an LSTM head, scale: {options.scale}\n\n{HEADER}", flush=True)
    agree = [compare(*row, options.repeats) for row in rows(options.scale)]
    return 0 if all(agree) else 1


if __name__ == "__main__":
    sys.exit(main())
