"""Actions as words: every bin of an action value is one of the last tokens of a vocabulary."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robovlms_ros.model.errors import ConfigError, ModelError

# Upstream leaves this many tokens between the special ones and those it reuses for actions.
_OFFSET = 10


class ActionTokenizer:
    """Turns action values into token ids and back (RT-2's scheme, in OpenVLA's form).

    ``n_bin`` edges between ``minimum`` and ``maximum`` make ``n_bin - 1`` bins. The larger the value, the
    smaller the id; the maximum itself has an id of its own and the centre of the last bin.

    Args:
        tokenizer: a transformers tokenizer (not a processor).
        n_bin: number of token ids for actions.
        minimum: lower bound of the values; what lies below is clipped.
        maximum: upper bound of the values.

    Raises `ConfigError` where the bounds are the wrong way round, or the vocabulary has too few tokens.
    """

    def __init__(self, tokenizer: Any, n_bin: int = 256, minimum: float = -1.0, maximum: float = 1.0) -> None:
        if n_bin < 2 or not minimum < maximum:
            raise ConfigError(
                f"discrete actions need n_bin >= 2 and min_action < max_action, got n_bin {n_bin}, "
                f"min_action {minimum}, max_action {maximum}"
            )
        special = sum(
            len(tokens) if isinstance(tokens, (list, tuple)) else 1
            for tokens in tokenizer.special_tokens_map.values()
        )
        self.n_bin = n_bin
        self.end_id: int = tokenizer.vocab_size - special - _OFFSET
        """First id above those of actions."""
        self.begin_id: int = self.end_id - (n_bin + 1)
        """Last id below those of actions."""
        if self.begin_id < -1:
            raise ConfigError(
                f"n_bin is {n_bin}, but the tokenizer has only {max(self.end_id, 0)} tokens to spare for actions; "
                "use fewer bins or the tokenizer that the model was trained with"
            )
        self.edges: NDArray[np.float64] = np.linspace(minimum, maximum, n_bin)
        self.centers: NDArray[np.float64] = (self.edges[:-1] + self.edges[1:]) / 2

    def encode(self, actions: ArrayLike) -> NDArray[np.int64]:
        """Values of any shape -> token ids of the same shape. Raises `ModelError` where one is NaN."""
        values = np.asarray(actions, dtype=np.float64)
        if np.isnan(values).any():
            raise ModelError("NaN in actions to be tokenized; drop that episode or record it again")
        return np.asarray(self.end_id - np.digitize(values.clip(self.edges[0], self.edges[-1]), self.edges))

    def decode(self, ids: ArrayLike) -> NDArray[np.float64]:
        """Token ids of any shape -> the centres of their bins; other tokens count as the nearest action token."""
        bins = self.end_id - np.asarray(ids, dtype=np.int64) - 1
        return np.asarray(self.centers[bins.clip(0, self.n_bin - 2)])

    def is_action(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Where ids stand for actions."""
        return np.asarray((ids > self.begin_id) & (ids < self.end_id))
