"""What of an episode's past the language model sees: ``act_head.history_type``.

Each kind says how a window of frames is laid out for training and what is kept of earlier frames while a robot
runs. Both give the policy head the same tokens.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from robovlms_ros.model.config import ActHeadConfig
from robovlms_ros.model.policy_head.base_policy import ActionOutput, BasePolicyHead
from robovlms_ros.model.sequence import MergedSequence, join

if TYPE_CHECKING:
    from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM

Arrange = Callable[[Tensor], MergedSequence]
"""Image tokens ``(B, V, D)`` -> the whole sequence, with the prompt and what else belongs to this step."""


class PostContext:
    """``post``: the current frame alone; the policy head remembers the earlier ones."""

    def init_state(self) -> Any:
        """What is kept of earlier frames, at the start of an episode."""
        return None

    def rows(self, images: Tensor) -> Tensor:
        """A batch of windows ``(B, W, cameras, V, D)`` -> the image tokens of every row of text, ``(rows, ., D)``.

        A window has as many rows as the policy head reads steps of it.
        """
        return images.flatten(0, 1).flatten(1, 2)

    def run(self, model: BaseRoboVLM, sequence: MergedSequence, steps: int) -> Tensor:
        """Hidden states ``(rows, n, D)`` of these rows, ``steps`` of which belong to one window."""
        return model.attend(sequence)

    def fuse(self, model: BaseRoboVLM, state: Any, images: Tensor, arrange: Arrange) -> tuple[Any, Tensor]:
        """One control step: images ``(B, cameras, V, D)`` -> the next state and what the head is to read."""
        return None, model.read(arrange(images.flatten(1, 2)))

    def decide(self, head: BasePolicyHead, state: Any, tokens: Tensor) -> tuple[Any, ActionOutput]:
        """One control step of the policy head: the next state of its memory, and a chunk ``(B, N, ...)``."""
        following, output = head.step(state, tokens)
        return following, output


class VideoContext(PostContext):
    """``video``: the images of the last ``window`` frames in one block, the oldest first, then one prompt.

    The hand camera's images stand before those of the static one. The frames are all the memory there is: the
    policy head sees a single step.
    """

    def __init__(self, window: int) -> None:
        self._window = window

    def init_state(self) -> tuple[Tensor, ...]:
        """The image tokens of the last frames: none."""
        return ()

    def rows(self, images: Tensor) -> Tensor:
        """``(B, W, cameras, V, D)`` -> ``(B, cameras * W * V, D)``."""
        return images.transpose(1, 2).flatten(1, 3)

    def fuse(self, model: BaseRoboVLM, state: Any, images: Tensor, arrange: Arrange) -> tuple[Any, Tensor]:
        """See `PostContext.fuse`; every image is encoded once and kept while it is in the window."""
        frames = (*state, images)[-self._window :]
        # A frame without the hand camera's image has one camera less.
        hand = [frame[:, :-1].flatten(1, 2) for frame in frames]
        static = [frame[:, -1] for frame in frames]
        return frames, model.read(arrange(torch.cat(hand + static, dim=1)))

    def decide(self, head: BasePolicyHead, state: Any, tokens: Tensor) -> tuple[Any, ActionOutput]:
        """See `PostContext.decide`; the memory stays empty."""
        _, output = head.step(state, tokens)
        return state, output


class FrameBlocks(NamedTuple):
    """What `PreContext` keeps: the sequences of the last frames, what the policy head read of each
    ``(B, t, latent, D)``, and the keys and values of attention, None once the window is full.
    """

    blocks: tuple[MergedSequence, ...]
    features: Tensor | None
    cache: Any


class PreContext(PostContext):
    """``pre``: the last ``window`` frames, each with its prompt and ACT, in one long sequence.

    The policy head reads all of them and its newest answer counts (upstream takes the oldest). While the window
    fills, attention goes on from its keys and values; once it slides, every frame moves to other positions and
    all of it is computed again. Images are encoded once.
    """

    def __init__(self, window: int) -> None:
        self._window = window

    def init_state(self) -> FrameBlocks:
        """No frames, and room for keys and values."""
        from transformers import DynamicCache

        return FrameBlocks((), None, DynamicCache())

    def run(self, model: BaseRoboVLM, sequence: MergedSequence, steps: int) -> Tensor:
        """See `PostContext.run`; the rows of one window follow each other in one sequence."""
        embeddings, mask = sequence.embeddings, sequence.mask
        rows, length, width = embeddings.shape
        joined = embeddings.reshape(rows // steps, steps * length, width)
        joined_mask = None if mask is None else mask.reshape(rows // steps, steps * length)
        return model.language_model(joined, joined_mask).reshape(rows, length, width)

    def fuse(self, model: BaseRoboVLM, state: Any, images: Tensor, arrange: Arrange) -> tuple[Any, Tensor]:
        """See `PostContext.fuse`; the tokens are those of all frames, ``(B, t, latent, D)``."""
        blocks = (*state.blocks, arrange(images.flatten(1, 2)))[-self._window :]
        sequence, mask = join(blocks)
        if state.cache is None:
            cache, first = None, 0
        else:
            # A copy, so that a step that fails half-way leaves the episode as it was.
            cache, first = _copy(state.cache), len(blocks) - 1
            sequence = blocks[-1].embeddings
        hidden = model.language_model(sequence, mask, cache)
        features = [] if first == 0 else [state.features]
        start = 0
        for block in blocks[first:]:
            length = block.embeddings.shape[1]
            read = hidden[:, start : start + length][:, model.read_span(block)]
            # Already pooled, because the number of tokens may differ between frames.
            features.append(model.act_head.pool(read).view(read.shape[0], 1, -1, read.shape[-1]))
            start += length
        tokens = torch.cat(features, dim=1)
        return FrameBlocks(blocks, tokens, cache if len(blocks) < self._window else None), tokens

    def decide(self, head: BasePolicyHead, state: Any, tokens: Tensor) -> tuple[Any, ActionOutput]:
        """See `PostContext.decide`; the head reads the whole window again, as its features have changed."""
        output: ActionOutput = head(tokens)
        return state, output.newest()


def make_context(head: ActHeadConfig, window: int) -> PostContext:
    """The context of a configuration.

    A discrete model with ``pre`` is asked about a video: as in upstream, where only its training interleaves.
    """
    if head.history_type == "post":
        return PostContext()
    if head.history_type == "video" or head.action_space == "discrete":
        return VideoContext(window)
    return PreContext(window)


def _copy(cache: Any) -> Any:
    """Another cache with the same keys and values, which may grow without changing the first."""
    duplicate = copy.copy(cache)
    duplicate.layers = [copy.copy(layer) for layer in cache.layers]
    return duplicate
