"""The token sequence that the language model reads: text, images, further tokens and the action token."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from robovlms_ros.model.config import RoboVLMConfig
from robovlms_ros.model.text_template import DEFAULT_TEMPLATE, TEMPLATES


class MaskedTokens(NamedTuple):
    """Tokens ``(B, k, D)``; those that are not ``valid`` ``(B, k)`` are hidden from attention (None: none is)."""

    tokens: Tensor
    valid: Tensor | None = None


class MergedSequence(NamedTuple):
    """``embeddings`` ``(B, n, D)``, ``mask`` ``(B, n)`` bool (None: all valid), and where the parts are.

    ``text`` is the prompt without its begin and end tokens, ``action`` the last of the further blocks. A backbone
    whose image tokens are not part of the sequence, but looked at from every place in it, has them ``beside`` it.
    """

    embeddings: Tensor
    mask: Tensor | None
    vision: slice
    text: slice
    action: slice
    beside: Tensor | None = None


def merge(
    text: Tensor,
    images: Tensor,
    further: Sequence[MaskedTokens] = (),
    *,
    bos: int,
    eos: int,
    text_mask: Tensor | None = None,
) -> MergedSequence:
    """``[bos] images [rest of the text] further... [eos]``, at the same places in every row of the batch.

    The last ``eos`` positions of the padded row are taken for the end: after a short text the further blocks
    therefore come behind the padding, as in upstream.

    Args:
        text: embedded prompt ``(B, T, D)``.
        images: image tokens ``(B, V, D)``, the hand camera's block first where there are two cameras.
        further: blocks before the end token; the last one is ACT.
        bos: 1 where the tokenizer has a begin token, which then stays in front of the images; else 0.
        eos: 1 where it has an end token, which then stays last; else 0.
        text_mask: ``(B, T)``, False on padding.
    """
    end = text.shape[1] - eos
    parts = slice(bos), slice(bos, end), slice(end, None)
    first, rest, last = (
        MaskedTokens(text[:, part], None if text_mask is None else text_mask[:, part].bool()) for part in parts
    )
    blocks = [first, MaskedTokens(images), rest, *further, last]
    stops = list(accumulate(block.tokens.shape[1] for block in blocks))
    _, vision, prompt, *others, _ = (
        slice(stop - block.tokens.shape[1], stop) for block, stop in zip(blocks, stops, strict=True)
    )
    action = others[-1] if others else slice(prompt.stop, prompt.stop)
    embeddings = torch.cat([block.tokens for block in blocks], dim=1)
    return MergedSequence(embeddings, _joined_masks(blocks), vision, prompt, action)


def join(rows: Sequence[MergedSequence]) -> MaskedTokens:
    """Sequences behind each other, for a language model that sees several frames with their prompts."""
    blocks = [MaskedTokens(row.embeddings, row.mask) for row in rows]
    return MaskedTokens(torch.cat([block.tokens for block in blocks], dim=1), _joined_masks(blocks))


def _joined_masks(blocks: Sequence[MaskedTokens]) -> Tensor | None:
    if all(block.valid is None for block in blocks):
        return None
    masks = [
        block.tokens.new_ones(block.tokens.shape[:2], dtype=torch.bool) if block.valid is None else block.valid
        for block in blocks
    ]
    return torch.cat(masks, dim=1)


def longest_sequence(config: RoboVLMConfig, tokens_per_image: int) -> int:
    """An upper bound of ``n``: every frame of the window with both cameras, text, further tokens and answer."""
    head = config.act_head
    if head is None:
        return 0
    discrete = head.action_space == "discrete"
    frames = 1 if head.history_type == "post" and not discrete else config.window_size
    text = TEMPLATES.get(config.model, DEFAULT_TEMPLATE).max_tokens
    # The answer is that of training: the whole chunk and the end token.
    answer = config.fwd_pred_next_n * head.action_dim + 1 if discrete else head.latent
    history = config.act_encoder.window if config.act_encoder else 0
    return frames * (2 * tokens_per_image + text + history + int(config.state_encoder is not None) + answer)
