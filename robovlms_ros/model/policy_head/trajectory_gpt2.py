"""A GPT-2 over the features of an episode: positions are learned, there are no words.

The state_dict has the keys of upstream's copy of GPT-2. Its two buffers per layer, the causal mask ``attn.bias``
and the constant ``attn.masked_bias``, are accepted and dropped: attention is causal by construction.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from robovlms_ros.model.errors import ConfigError, ObservationError

LAYERS = 8
HEADS = 8
_DROPOUT = 0.1
_BUFFERS = ("bias", "masked_bias")


class KeyValues(NamedTuple):
    """What attention remembers of earlier positions: ``(B, heads, t, width / heads)`` each."""

    keys: Tensor
    values: Tensor


class Conv1D(nn.Module):
    """A linear layer with its weight stored as ``(in, out)``, as in GPT-2's checkpoints."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(in_features, out_features))
        self.bias = nn.Parameter(torch.zeros(out_features))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., in)`` -> ``(..., out)``."""
        return x @ self.weight + self.bias


class Attention(nn.Module):
    """Causal self-attention that can go on from the keys and values of earlier positions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_attn = Conv1D(width, 3 * width)
        self.c_proj = Conv1D(width, width)
        self.attention_dropout = _DROPOUT
        self.resid_dropout = nn.Dropout(_DROPOUT)
        self.register_load_state_dict_pre_hook(_drop_buffers)  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor, past: KeyValues | None) -> tuple[Tensor, KeyValues]:
        """``(B, n, width)`` -> the same, and the keys and values of all positions so far.

        With a past, ``n`` is 1.
        """
        query, key, value = (
            part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.c_attn(x).chunk(3, dim=-1)
        )
        if past is not None:
            key, value = torch.cat([past.keys, key], dim=2), torch.cat([past.values, value], dim=2)
        dropout = self.attention_dropout if self.training else 0.0
        out = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=past is None)
        out = self.resid_dropout(self.c_proj(out.transpose(1, 2).flatten(2)))
        return out, KeyValues(key, value)


def _drop_buffers(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    for name in _BUFFERS:
        state_dict.pop(prefix + name, None)


class MLP(nn.Module):
    """The feed-forward part of a block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = Conv1D(width, 4 * width)
        self.c_proj = Conv1D(4 * width, width)
        self.dropout = nn.Dropout(_DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, n, width)`` -> the same."""
        out: Tensor = self.dropout(self.c_proj(functional.gelu(self.c_fc(x), approximate="tanh")))
        return out


class Block(nn.Module):
    """Attention and feed-forward, each behind a layer norm and with a residual around it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, eps=1e-5)
        self.attn = Attention(width)
        self.ln_2 = nn.LayerNorm(width, eps=1e-5)
        self.mlp = MLP(width)

    def forward(self, x: Tensor, past: KeyValues | None) -> tuple[Tensor, KeyValues]:
        """``(B, n, width)`` -> the same, and what to remember of it."""
        attended, present = self.attn(self.ln_1(x), past)
        x = x + attended
        return x + self.mlp(self.ln_2(x)), present


class TrajectoryGPT2(nn.Module):
    """Eight GPT-2 blocks of eight heads over at most ``positions`` features of ``width``.

    Raises `ConfigError` where the heads do not divide the width.
    """

    def __init__(self, width: int, positions: int) -> None:
        super().__init__()
        if width % HEADS:
            raise ConfigError(
                f"the GPT head is {width} wide (act_head.hidden_size times latent); "
                f"make that a multiple of {HEADS}, the number of its attention heads"
            )
        self.wpe = nn.Embedding(positions, width)
        nn.init.normal_(self.wpe.weight, std=0.02)
        self.drop = nn.Dropout(_DROPOUT)
        self.h = nn.ModuleList(Block(width) for _ in range(LAYERS))
        self.ln_f = nn.LayerNorm(width, eps=1e-5)

    def forward(
        self, features: Tensor, past: tuple[KeyValues, ...] | None = None
    ) -> tuple[Tensor, tuple[KeyValues, ...]]:
        """``(B, n, width)`` -> hidden states of the same shape, and the past for the next position.

        The features take the positions after the past; with a past, ``n`` is 1. Raises `ObservationError` where
        they are more than there are positions.
        """
        first = 0 if past is None else past[0].keys.shape[2]
        last = first + features.shape[1]
        if last > self.wpe.num_embeddings:
            raise ObservationError(
                f"a window of {last} steps was given to a GPT head with {self.wpe.num_embeddings} positions; "
                "give at most window_size steps"
            )
        x = self.drop(features + self.wpe.weight[first:last])
        presents = []
        for layer, block in enumerate(self.h):
            x, present = block(x, None if past is None else past[layer])
            presents.append(present)
        return self.ln_f(x), tuple(presents)
