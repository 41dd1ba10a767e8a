"""The text that a window is trained on: its prompt, or with discrete actions prompt and answer of every step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.model.config import RoboVLMConfig
from robovlms_ros.model.discrete_prompt import training_row
from robovlms_ros.model.policy_head.action_tokenizer import ActionTokenizer
from robovlms_ros.model.prompt import instruction_ids


class PromptRows:
    """The row of a continuous model: one prompt for all steps of a window."""

    def __init__(self, config: RoboVLMConfig, tokenizer: Any) -> None:
        self._config, self._tokenizer = config, tokenizer
        self.pad_id: int = tokenizer.pad_token_id

    def prompt(self, instruction: str) -> list[int]:
        """Token ids of the prompt. Raises `ObservationError` for an instruction that cannot be used."""
        return instruction_ids(instruction, self._tokenizer, self._config)

    def rows(
        self, prompt: list[int], chunks: NDArray[np.float32], mask: NDArray[np.bool_]
    ) -> tuple[list[list[int]], list[list[int]] | None]:
        """Ids, and labels where words are what is learned."""
        return [prompt], None


class AnswerRows(PromptRows):
    """The rows of a discrete model: per step of a window the prompt, the chunk as action tokens, the end token.

    The gripper takes the ends of the action range, as the poses do: ``min_action`` closed, ``max_action`` open.
    """

    def __init__(self, config: RoboVLMConfig, tokenizer: Any) -> None:
        super().__init__(config, tokenizer)
        head = config.act_head
        assert head is not None  # only models with a discrete head come here
        self._low, self._high, self._with_gripper = head.min_action, head.max_action, head.with_gripper
        self._words = ActionTokenizer(tokenizer, head.n_bin, head.min_action, head.max_action)

    def rows(
        self, prompt: list[int], chunks: NDArray[np.float32], mask: NDArray[np.bool_]
    ) -> tuple[list[list[int]], list[list[int]] | None]:
        """``chunks`` ``(W, N, action_dim)`` and ``mask`` ``(W, N)`` -> ids and labels of ``W`` rows.

        Only actions from the first of a chunk up to the end of the episode are learned: a step before the episode
        has none.
        """
        values = np.array(chunks, np.float64)
        if self._with_gripper:
            values[..., -1] = self._low + values[..., -1] * (self._high - self._low)
        words, width = self._words.encode(values), values.shape[-1]
        valid = np.cumprod(mask, axis=1).sum(axis=1) * width
        end: int | None = self._tokenizer.eos_token_id
        made = [
            training_row(prompt, row.ravel().tolist(), int(count), end)
            for row, count in zip(words, valid, strict=True)
        ]
        return [row.ids for row in made], [row.labels for row in made]


def text_rows(config: RoboVLMConfig, tokenizer: Any) -> PromptRows:
    """What fits the configuration's policy head."""
    head = config.act_head
    discrete = head is not None and head.action_space == "discrete"
    return AnswerRows(config, tokenizer) if discrete else PromptRows(config, tokenizer)
