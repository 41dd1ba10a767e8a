"""The token sequence that the language model reads: text, images, action history and the action token."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from robovlms_ros.model.config import RoboVLMConfig
from robovlms_ros.model.text_template import DEFAULT_TEMPLATE, TEMPLATES


class MergedSequence(NamedTuple):
    """``embeddings`` ``(B, n, D)``, ``mask`` ``(B, n)`` bool (None: all valid), and where ACT is."""

    embeddings: Tensor
    mask: Tensor | None
    action: slice


class HistoryTokens(NamedTuple):
    """Encoded previous actions ``(B, H, D)``; rows that are not ``valid`` ``(B, H)`` are hidden from attention."""

    tokens: Tensor
    valid: Tensor


def merge(
    text: Tensor,
    images: Tensor,
    action: Tensor,
    *,
    bos: int,
    eos: int,
    text_mask: Tensor | None = None,
    history: HistoryTokens | None = None,
    hide_action: bool = False,
) -> MergedSequence:
    """``[bos] images [rest of the text] [history] ACT [eos]``, at the same places in every row of the batch.

    The last ``eos`` positions of the padded row are taken for the end: after a short text ACT therefore comes
    behind the padding, as in upstream.

    Args:
        text: embedded prompt ``(B, T, D)``.
        images: image tokens ``(B, V, D)``, the hand camera's block first where there are two cameras.
        action: the ACT token repeated, ``(latent, D)``.
        bos: 1 where the tokenizer has a begin token, which then stays in front of the images; else 0.
        eos: 1 where it has an end token, which then stays behind ACT; else 0.
        text_mask: ``(B, T)``, False on padding.
        history: encoded previous actions, right before ACT.
        hide_action: mask the ACT positions as keys (``act_head.fill_zero``).
    """
    batch, end = text.shape[0], text.shape[1] - eos
    blocks = [text[:, :bos], images, text[:, bos:end]]
    if history is not None:
        blocks.append(history.tokens)
    start = sum(block.shape[1] for block in blocks)
    blocks += [action.expand(batch, -1, -1), text[:, end:]]
    embeddings = torch.cat(blocks, dim=1)
    where = slice(start, start + action.shape[0])

    if text_mask is None and history is None and not hide_action:
        return MergedSequence(embeddings, None, where)
    kept = text.new_ones(text.shape[:2], dtype=torch.bool) if text_mask is None else text_mask.bool()
    mask_blocks = [kept[:, :bos], kept.new_ones(batch, images.shape[1]), kept[:, bos:end]]
    if history is not None:
        mask_blocks.append(history.valid)
    mask_blocks += [kept.new_full((batch, action.shape[0]), not hide_action), kept[:, end:]]
    return MergedSequence(embeddings, torch.cat(mask_blocks, dim=1), where)


def longest_sequence(config: RoboVLMConfig, tokens_per_image: int) -> int:
    """An upper bound of ``n``: every frame of the window with both cameras, text, history and ACT."""
    head = config.act_head
    frames = 1 if head is None or head.history_type == "post" else config.window_size
    text = TEMPLATES.get(config.model, DEFAULT_TEMPLATE).max_tokens
    history = config.act_encoder.window if config.act_encoder else 0
    return frames * (2 * tokens_per_image + text + history + (head.latent if head else 0))
