"""What each exact speed-up gains. The reference is upstream's *algorithm* written plainly, not upstream's code.

Every row also compares the results, and is a problem where they differ by more than float32 rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from robovlms_ros.bench.models import INSTRUCTION, camera_image, make_model
from robovlms_ros.bench.table import Table
from robovlms_ros.bench.timing import COLUMNS, Work, compare, threads
from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM, EpisodeState
from robovlms_ros.policy.preprocess import ImagePreprocessor

# What another order of additions may change in float32.
ROUNDING = 2e-5
Row = tuple[str, Work, Work, float]
NOTES = (
    "The reference is upstream's algorithm written plainly, on the same weights; A/A is the reference against "
    "itself: what noise alone does.",
    '*uint8 preprocessing* is compared in [0, 1]: at most 1/255 apart. `preprocess="exact"` is the reference.',
    "*Nothing behind ACT* saves one token of about 150 here: less than the noise.",
    "While the window of `pre` fills, attention goes on from its keys and values; once it slides, every frame "
    "moves to other positions, and only the image tokens can be kept.",
)


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


def comparisons(scale: str) -> Iterator[Row]:
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


def measure(scale: str, repeats: int, progress: Callable[[str], None]) -> list[Table]:
    """Compare everything, on one thread; ``progress`` is told the name of each row before it is measured."""
    found = []
    with threads(1):
        for row in comparisons(scale):
            progress(row[0])
            found.append(compare(*row, repeats))
    problems = tuple(each.problem for each in found if each.problem)
    title = f"Exact speed-ups: Kosmos-2 with an LSTM head, scale: {scale}, one thread"
    return [Table(title, COLUMNS, tuple(each.row for each in found), NOTES, problems)]
