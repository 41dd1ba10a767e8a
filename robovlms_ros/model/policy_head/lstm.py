"""The recurrent policy head of every published RoboVLMs checkpoint."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from robovlms_ros.model.config import RoboVLMConfig
from robovlms_ros.model.policy_head.base_policy import ActionOutput, BasePolicyHead


class LSTMState(NamedTuple):
    """``W`` staggered copies of the LSTM state, each ``(layers, W, B, hidden)``, after ``time`` steps."""

    hidden: Tensor
    cell: Tensor
    time: int


class LSTMDecoder(BasePolicyHead):
    """An LSTM over the features of the last ``W`` steps, then one network for the pose and one for the gripper.

    The action at step t is the LSTM's answer after it ran from zero over the last ``min(t, W)`` features. Upstream
    runs it again over all of them at every step. Here ``W`` copies of the state run side by side, copy ``s``
    starting from zero whenever ``t = s (mod W)``: the copy that started ``W - 1`` steps ago has the answer, and
    a step costs one LSTM step of batch ``W``.
    """

    def __init__(self, config: RoboVLMConfig, in_features: int) -> None:
        super().__init__(config, in_features)
        head = config.act_head
        assert head is not None
        self.rnn = nn.LSTM(
            self.in_features,
            self.hidden_size,
            head.num_layers,
            batch_first=True,
            dropout=head.policy_rnn_dropout_p,
        )
        self._make_outputs()

    def init_state(self, batch_size: int = 1) -> LSTMState:
        """Zeros, on the device and in the type of the weights."""
        weight = next(self.rnn.parameters())
        zeros = weight.new_zeros(self.rnn.num_layers, self.window_size, batch_size, self.hidden_size)
        return LSTMState(zeros, zeros, 0)

    def step(self, state: LSTMState, tokens: Tensor) -> tuple[LSTMState, ActionOutput]:
        """One control step: tokens ``(B, n, D)`` -> the next state and a chunk ``(B, N, ...)``."""
        feature = self.pool(tokens)
        copies = feature.expand(self.window_size, *feature.shape).flatten(0, 1).unsqueeze(1)
        output, (hidden, cell) = self.rnn(copies, (state.hidden.flatten(1, 2), state.cell.flatten(1, 2)))
        hidden, cell = hidden.view_as(state.hidden), cell.view_as(state.cell)
        following = state.time + 1
        oldest = following % self.window_size if following >= self.window_size else 0
        answer = output.view(self.window_size, feature.shape[0], -1)[oldest]
        restart = following % self.window_size
        hidden[:, restart], cell[:, restart] = 0, 0
        return LSTMState(hidden, cell, following), self.decode(answer)

    def forward(self, tokens: Tensor) -> ActionOutput:
        """A whole window at once: tokens ``(B, W, n, D)`` -> a chunk per step, ``(B, W, N, ...)``."""
        output, _ = self.rnn(self.pool(tokens))
        return self.decode(output)
