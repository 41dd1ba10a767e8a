"""Boils the tokens of an image down to a fixed, smaller number."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

LATENTS = 64
_DEPTH = 6
_HEADS = 8
_HEAD_WIDTH = 64
_FEED_FORWARD = 4


class PerceiverAttention(nn.Module):
    """Learned latents attend to the image's tokens and to each other."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = _HEADS * _HEAD_WIDTH
        self.norm_media = nn.LayerNorm(width)
        self.norm_latents = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_kv = nn.Linear(width, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, width, bias=False)

    def forward(self, tokens: Tensor, latents: Tensor) -> Tensor:
        """``(b, V, D)`` and ``(b, 64, D)`` -> ``(b, 64, D)``."""
        latents = self.norm_latents(latents)
        media = torch.cat([self.norm_media(tokens), latents], dim=1)
        key, value = self.to_kv(media).chunk(2, dim=-1)
        query, key, value = (
            part.unflatten(-1, (_HEADS, _HEAD_WIDTH)).transpose(1, 2) for part in (self.to_q(latents), key, value)
        )
        attended = functional.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.to_out(attended.transpose(1, 2).flatten(2))
        return out


def _feed_forward(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, _FEED_FORWARD * width, bias=False),
        nn.GELU(),
        nn.Linear(_FEED_FORWARD * width, width, bias=False),
    )


class Layer(nn.ModuleList):
    """Attention, then a feed-forward network, each with a residual around it."""

    def forward(self, tokens: Tensor, latents: Tensor) -> Tensor:
        """``(b, V, D)`` and ``(b, 64, D)`` -> ``(b, 64, D)``."""
        attention, feed_forward = self
        latents = latents + attention(tokens, latents)
        fed: Tensor = feed_forward(latents)
        return latents + fed


class PerceiverResampler(nn.Module):
    """Flamingo's perceiver resampler (Alayrac et al. 2022) with the one set of sizes that upstream uses.

    Args:
        width: width ``D`` of the tokens, which stays the same.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(LATENTS, width))
        self.layers = nn.ModuleList(
            Layer([PerceiverAttention(width), _feed_forward(width)]) for _ in range(_DEPTH)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Image tokens ``(..., V, D)`` -> ``(..., 64, D)``, each image by itself."""
        images = tokens.flatten(0, -3)
        latents = self.latents.expand(images.shape[0], -1, -1)
        for layer in self.layers:
            latents = layer(images, latents)
        resampled: Tensor = self.norm(latents)
        return resampled.view(*tokens.shape[:-2], *resampled.shape[1:])
