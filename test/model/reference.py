"""RoboVLMs' algorithm written plainly and slowly: what the fast one must equal.

Every image is encoded by itself, every step starts from nothing, whole sequences go through the whole language
model with all hidden states kept, and the policy head sees the last window at once. `BACKBONES` has one row per
backbone: add a row and every exactness test runs on it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, NamedTuple

import golden_cases
import tiny_backbones
import torch
from torch import Tensor

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.config_reader import parse_config, read_config
from robovlms_ros.model.policy_head.base_policy import ActionOutput
from robovlms_ros.model.vlm_builder import build_model, find_vlm_folder
from robovlms_ros.model.weights import assign_weights


@cache
def golden_model(case: str) -> BaseRoboVLM:
    """A golden case, loaded the way a checkpoint is: built on the meta device, then assigned."""
    config = read_config(golden_cases.config_path(case))
    model = build_model(config, find_vlm_folder(config, golden_cases.FOLDER))
    tensors = {key.removeprefix("model."): value for key, value in golden_cases.state_dict(case).items()}
    assign_weights(model, tensors, torch.float32, "golden weights")
    return model.requires_grad_(False)


class BackboneRow(NamedTuple):
    """How to make tiny models on one backbone.

    ``base`` gives a model whose backbone the others share, ``raw`` a configuration; its ``act_head`` is replaced.
    """

    base: Callable[[], BaseRoboVLM]
    raw: Callable[[], dict[str, Any]]


def _golden(case: str) -> BackboneRow:
    return BackboneRow(lambda: golden_model(case), lambda: json.loads(golden_cases.config_path(case).read_text()))


def _tiny(name: str) -> BackboneRow:
    return BackboneRow(cache(lambda: tiny_backbones.make_model(name)), lambda: tiny_backbones.raw_config(name))


BACKBONES: Mapping[str, BackboneRow] = {
    "kosmos": _golden("kosmos_discrete"),
    "paligemma": _golden("paligemma_lstm"),
    **{name: _tiny(name) for name in ("paligemma2", "llava-llama", "llava-mpt", "qwenvl", "smolvlm")},
}


def hidden_states(model: BaseRoboVLM, embeddings: Tensor, mask: Tensor | None) -> Tensor:
    """The last hidden states of the backbone's own forward pass, output layer included."""
    whole = model.backbone
    if model.config.robovlm_name == "RoboKosMos":
        # All of it refuses to run without images that it can insert itself.
        whole = model.backbone.text_model
    if model.config.robovlm_name == "RoboPaligemma":
        embeddings = embeddings * model.hidden_size**0.5
    output = whole(inputs_embeds=embeddings, attention_mask=mask, use_cache=False, output_hidden_states=True)
    assert output.logits.shape[:2] == embeddings.shape[:2]
    states: Tensor = output.hidden_states[-1]
    return states


OUR_SECTIONS = ("act_encoder", "state_encoder", "use_vision_resampler")


def make_model(name: str, head: str = "LSTMDecoder", **changes: Any) -> BaseRoboVLM:
    """A tiny model with random weights, on a backbone that all models of a row share.

    Keys of ``act_head`` may be given without their section.
    """
    row = BACKBONES[name]
    base, raw = row.base(), row.raw()
    act_head = {"type": head, "hidden_size": 16}
    act_head |= {key: changes.pop(key) for key in list(changes) if key not in raw and key not in OUR_SECTIONS}
    config = parse_config(raw | {"act_head": act_head, "window_size": 3, "fwd_pred_next_n": 2} | changes)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = type(base)(config, base.backbone, base.tokenizer).eval()
        for key, weight in model.named_parameters():
            # Fresh weights are so small that nothing depends on anything.
            if key == "action_token":
                weight.normal_()
            elif key.startswith("act_head.rnn.weight"):
                weight.mul_(4)
            elif key.startswith(("act_head.", "embed_")) and weight.ndim == 2:
                weight.mul_(1.5)
    return model.requires_grad_(False)


@dataclass(frozen=True)
class Frame:
    """One look: preprocessed images ``(3, S, S)``, and what else the model takes."""

    static: Tensor
    hand: Tensor | None = None
    history: tuple[Tensor, Tensor] | None = None
    state: Tensor | None = None


def decide(model: BaseRoboVLM, frames: Sequence[Frame], ids: Tensor) -> ActionOutput:
    """The action at the newest of ``frames``, computed from nothing but these."""
    head = model.head_config
    window = frames[-model.config.window_size :]
    if head.history_type == "pre":
        rows = [_row(model, [frame], ids) for frame in window]
        hidden = _states(model, torch.cat([row for row, _ in rows]), torch.cat([kept for _, kept in rows]))
        steps = hidden.split([len(row) for row, _ in rows])
    elif head.history_type == "video":
        steps = (_states(model, *_row(model, window, ids)),)
    else:
        steps = tuple(_states(model, *_row(model, [frame], ids)) for frame in window)
    tokens = torch.stack([_pooled(model, _chosen(model, step, ids)) for step in steps])
    output: ActionOutput = model.act_head(tokens.unsqueeze(0))
    return output.newest()


def _states(model: BaseRoboVLM, sequence: Tensor, kept: Tensor) -> Tensor:
    return hidden_states(model, sequence.unsqueeze(0), kept.unsqueeze(0))[0]


def _row(model: BaseRoboVLM, frames: Sequence[Frame], ids: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings ``(n, D)`` and mask of one prompt with the images of ``frames``, block by block as upstream."""
    bos = int(model.tokenizer.bos_token is not None)
    eos = int(model.tokenizer.eos_token is not None)
    sequence, newest = model.embed_text(ids)[0], frames[-1]
    kept = torch.ones(len(sequence), dtype=torch.bool)
    static = torch.cat([encode(model, frame.static) for frame in frames])
    hand = [encode(model, frame.hand) for frame in frames if frame.hand is not None]
    sequence, kept = _insert(sequence, kept, bos, static, True)
    if hand:
        sequence, kept = _insert(sequence, kept, bos, torch.cat(hand), True)
    visible = not model.head_config.fill_zero
    if newest.state is not None:
        token = model.encode_state(newest.state[None]).tokens[0]
        sequence, kept = _insert(sequence, kept, len(sequence) - eos, token, visible)
    if newest.history is not None:
        actions, valid = newest.history
        assert model.act_encoder is not None
        sequence, kept = _insert(sequence, kept, len(sequence) - eos, model.act_encoder(actions), valid)
    if model.head_config.action_space == "continuous":
        action = model.action_token.expand(model.head_config.latent, -1)
        sequence, kept = _insert(sequence, kept, len(sequence) - eos, action, visible)
    return sequence, kept


@lru_cache(64)
def encode(model: BaseRoboVLM, image: Tensor) -> Tensor:
    """One image by itself, ``(V, D)``."""
    return model.encode_images(image[None, None])[0, 0]


def _insert(
    sequence: Tensor, kept: Tensor, at: int, block: Tensor, visible: bool | Tensor
) -> tuple[Tensor, Tensor]:
    flags = visible if isinstance(visible, Tensor) else torch.full((len(block),), visible)
    return torch.cat([sequence[:at], block, sequence[at:]]), torch.cat([kept[:at], flags, kept[at:]])


def _chosen(model: BaseRoboVLM, hidden: Tensor, ids: Tensor) -> Tensor:
    """Of the hidden states ``(n, D)`` of one row, those that the head reads."""
    head = model.head_config
    bos = int(model.tokenizer.bos_token is not None)
    eos = int(model.tokenizer.eos_token is not None)
    words = ids.shape[1] - bos - eos
    end = len(hidden) - eos
    if head.action_space == "continuous":
        return hidden[end - head.latent : end]
    return {"all": hidden, "text": hidden[end - words : end], "vision": hidden[bos : end - words]}[
        head.token_source
    ]


def _pooled(model: BaseRoboVLM, tokens: Tensor) -> Tensor:
    """As many tokens as the head takes; the maximum over bins that share the tokens evenly."""
    if model.head_config.down_sample == "none":
        return tokens
    latent, count = model.head_config.latent, len(tokens)
    bins = [
        tokens[index * count // latent : -(-(index + 1) * count // latent)].amax(dim=0) for index in range(latent)
    ]
    return torch.stack(bins)


def answer(model: BaseRoboVLM, frames: Sequence[Frame], ids: Tensor, count: int) -> list[int]:
    """A discrete model's next ``count`` tokens, each from the whole sequence read again."""
    window = frames[-1:] if model.head_config.history_type == "post" else frames[-model.config.window_size :]
    images = [encode(model, frame.hand) for frame in window if frame.hand is not None]
    images += [encode(model, frame.static) for frame in window]
    text = model.embed_text(ids)[0]
    sequence, found = torch.cat([text[:1], *images, text[1:]]), []
    for _ in range(count):
        hidden = _states(model, sequence, torch.ones(len(sequence), dtype=torch.bool))
        scores = model.backbone.get_output_embeddings()(hidden[-1])
        found.append(int(scores.argmax()))
        sequence = torch.cat([sequence, model.embed_text(torch.tensor([found[-1]]))])
    return found
