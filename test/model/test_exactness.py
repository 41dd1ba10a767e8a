"""Every speed-up gives the numbers of the plain algorithm, for every backbone, head and history type."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from reference import BACKBONES, Frame, answer, decide, make_model
from torch import Tensor, nn

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.policy_head.base_policy import ActionOutput
from robovlms_ros.model.policy_head.discrete import decode_tokens_in_parallel

STEPS = 5  # the window of `make_model` is 3
HISTORIES = ("post", "pre", "video")
POOLED = {"action_space": "down_sample", "down_sample": "pooling"}
EVERYWHERE: dict[str, dict[str, Any]] = {
    "post-lstm": {},
    "pre-lstm": {"history_type": "pre"},
    "pre-gpt": {"head": "GPTDecoder", "history_type": "pre"},
    "video-fc": {"head": "FCDecoder", "history_type": "video"},
    "post-text": POOLED | {"token_source": "text"},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "gpt": {"head": "GPTDecoder"},
    "fc": {"head": "FCDecoder"},
    "two action tokens": {"latent": 2},
    "hidden action token": {"fill_zero": True},
    "pooled sequence": POOLED | {"token_source": "all"},
    "pooled text": POOLED | {"token_source": "text"},
    "pooled images": POOLED | {"token_source": "vision", "latent": 2},
    "resampler": {"use_vision_resampler": True},
    "history and state": {
        "act_encoder": {"window": 2},
        "state_encoder": {"arm_dim": 4},
        "fill_zero": True,
    },
    "window of one": {"window_size": 1},
}
CASES = [
    *(
        pytest.param(name, settings, id=f"{name}-{key}")
        for name in BACKBONES
        for key, settings in EVERYWHERE.items()
    ),
    *(
        pytest.param("kosmos", settings | {"history_type": history}, id=f"{history}-{key}")
        for history in HISTORIES
        for key, settings in VARIANTS.items()
    ),
]
backbones = pytest.mark.parametrize("backbone", BACKBONES)
histories = pytest.mark.parametrize("history", HISTORIES)


def make_frames(model: BaseRoboVLM, count: int = STEPS, hand: bool = True) -> list[Frame]:
    generator = torch.Generator().manual_seed(7)
    side, history, state = model.config.image_size, model.config.act_encoder, model.config.state_encoder

    def one() -> Frame:
        return Frame(
            torch.randn(3, side, side, generator=generator),
            torch.randn(3, side, side, generator=generator) if hand else None,
            None
            if history is None
            else (torch.rand(history.window, 7, generator=generator), torch.tensor([False, True])),
            None if state is None else torch.rand(state.arm_dim + 1, generator=generator),
        )

    return [one() for _ in range(count)]


def rollout(model: BaseRoboVLM, frames: list[Frame], ids: Tensor) -> list[ActionOutput]:
    """The way a session runs it: one call per step, both cameras together, the instruction embedded once."""
    memory, text, outputs = model.init_state(), model.embed_text(ids), []
    for frame in frames:
        cameras = [image for image in (frame.hand, frame.static) if image is not None]
        images = model.encode_images(torch.stack(cameras)[None])
        history = None if frame.history is None else model.encode_history(*(part[None] for part in frame.history))
        state = None if frame.state is None else model.encode_state(frame.state[None])
        memory, tokens = model.observe(memory, images, text, history, state)
        memory, output = model.decide(memory, tokens)
        outputs.append(output)
    return outputs


def assert_same(actual: ActionOutput, expected: ActionOutput, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(actual.pose, expected.pose, atol=tolerance, rtol=0)
    assert actual.gripper is not None
    assert expected.gripper is not None
    torch.testing.assert_close(actual.gripper, expected.gripper, atol=tolerance, rtol=0)


@pytest.mark.parametrize(("backbone", "settings"), CASES)
def test_a_rollout_equals_the_plain_algorithm_and_a_training_window(
    backbone: str, settings: dict[str, Any]
) -> None:
    model = make_model(backbone, **settings)
    frames, ids = make_frames(model), model.encode_text("open the drawer")
    outputs = rollout(model, frames, ids)
    for step, output in enumerate(outputs):
        assert_same(output, decide(model, frames[: step + 1], ids))
    whole = training_window(model, frames[: model.config.window_size], ids)
    count = whole.pose.shape[1]
    assert count == (1 if model.head_config.history_type == "video" else model.config.window_size)
    for step, output in enumerate(outputs[model.config.window_size - count : model.config.window_size]):
        assert whole.gripper is not None
        assert_same(output, ActionOutput(whole.pose[:, step], whole.gripper[:, step]))
    # The frames do matter.
    assert not torch.allclose(outputs[-1].pose, outputs[0].pose, atol=1e-3)


def training_window(model: BaseRoboVLM, frames: list[Frame], ids: Tensor) -> ActionOutput:
    batch: dict[str, Any] = {
        "static": torch.stack([frame.static for frame in frames])[None],
        "hand": torch.stack([frame.hand for frame in frames if frame.hand is not None])[None],
    }
    if frames[0].history is not None:
        parts = zip(*(frame.history for frame in frames if frame.history is not None), strict=True)
        batch["history"] = tuple(torch.stack(part)[None] for part in parts)
    if frames[0].state is not None:
        batch["state"] = torch.stack([frame.state for frame in frames if frame.state is not None])[None]
    output: ActionOutput = model(ids=ids, text_mask=torch.ones_like(ids, dtype=torch.bool), **batch)
    return output


@backbones
@histories
def test_a_camera_may_come_and_go(backbone: str, history: str) -> None:
    model = make_model(backbone, **POOLED, history_type=history)
    both, one = make_frames(model), make_frames(model, hand=False)
    frames = [both[0], one[1], one[2], both[3]]
    ids = model.encode_text("open the drawer")
    for step, output in enumerate(rollout(model, frames, ids)):
        assert_same(output, decide(model, frames[: step + 1], ids))


@backbones
@histories
def test_discrete_answers_equal_reading_everything_again(backbone: str, history: str) -> None:
    settings = {"action_space": "discrete", "history_type": history, "n_bin": 16, "action_dim": 4}
    model = make_model(backbone, "DiscreteDecoder", **settings)
    frames, ids = make_frames(model, 4), model.encode_text("open the drawer")
    memory, text = model.init_state(), model.embed_text(ids)
    for step, frame in enumerate(frames):
        assert frame.hand is not None
        images = model.encode_images(torch.stack([frame.hand, frame.static])[None])
        memory, tokens = model.observe(memory, images, text)
        assert tokens.tolist() == [answer(model, frames[: step + 1], ids, 4)]


@backbones
def test_parallel_answers_are_what_training_scores(backbone: str) -> None:
    model = make_model(backbone, "DiscreteDecoder", action_space="discrete", n_bin=16, parallel_decoding=True)
    static, hand = torch.randn(2, 1, 1, 3, model.config.image_size, model.config.image_size)
    prompt = model.encode_text("open the drawer")
    answers = torch.from_numpy(model.act_head.action_tokenizer.encode(torch.linspace(-1, 1, 14)[None]))
    ids = torch.cat([prompt, answers], dim=1)[None]
    labels = torch.cat([torch.full_like(prompt, -100), answers], dim=1)[None]
    losses = model(static, ids, torch.ones_like(ids, dtype=torch.bool), hand, labels=labels)
    images = model.encode_images(torch.cat([hand, static], dim=1)).flatten(1, 2)
    prefix = model.arrange(images, model.embed_text(prompt)).embeddings
    found = decode_tokens_in_parallel(model.language_model, model.word_scores, model.action_token, prefix, 14)
    torch.testing.assert_close(losses.arm, nn.functional.cross_entropy(found.logits[0], answers[0]))


@backbones
def test_a_step_leaves_its_memory_as_it_was(backbone: str) -> None:
    model = make_model(backbone, history_type="pre")
    ids = model.encode_text("open the drawer")
    text, images = (
        model.embed_text(ids),
        [model.encode_images(f.static[None, None]) for f in make_frames(model, 3)],
    )
    memory, _ = model.observe(model.init_state(), images[0], text)
    _, first = model.observe(memory, images[1], text)
    model.observe(memory, images[2], text)
    _, again = model.observe(memory, images[1], text)
    assert torch.equal(first, again)


@histories
def test_every_image_is_encoded_once(history: str) -> None:
    model, encoded = make_model("kosmos", history_type=history), []
    hook = model.vision_tower.register_forward_pre_hook(lambda _, args: encoded.append(len(args[0])))
    rollout(model, make_frames(model), model.encode_text("open the drawer"))
    hook.remove()
    assert encoded == [2] * STEPS


def test_while_the_window_fills_only_the_new_frame_is_read() -> None:
    model = make_model("kosmos", history_type="pre")
    lengths: list[int] = []
    first = model.text_tower.layers[0]
    hook = first.register_forward_pre_hook(lambda _, args: lengths.append(args[0].shape[1]))
    rollout(model, make_frames(model), model.encode_text("open the drawer"))
    hook.remove()
    block = lengths[0]
    assert lengths == [block] * 3 + [3 * block] * 2
