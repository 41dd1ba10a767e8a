"""A control step of a ``post`` model with shapes that never change, which a CUDA device can replay as one graph.

At batch 1 a GPU waits for its launches: some thousand kernels of microseconds each. A captured graph launches them
at once, but is good for one shape only. So the text is padded to a multiple of `BUCKET` tokens, on the right,
behind the end token: positions come from the index and attention is causal, so nothing that is read sees the
padding. Each length of a bucket has a graph of its own. The LSTM's place in its window becomes a tensor.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.context import PostContext
from robovlms_ros.model.errors import ModelError
from robovlms_ros.model.policy_head.base_policy import ActionOutput
from robovlms_ros.model.policy_head.lstm import LSTMDecoder

BUCKET = 8
WARM_UPS = 3


class _Graph(NamedTuple):
    """A captured step and the tensors that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    output: ActionOutput


class StaticStep:
    """Runs one episode; ``load`` an instruction, then ``step`` images. Captured on CUDA, computed anew elsewhere.

    Raises `ModelError` for a model that it does not know how to hold still: anything but ``post`` history, a
    continuous LSTM head and neither action history nor state.
    """

    def __init__(self, model: BaseRoboVLM, cameras: int) -> None:
        head, config = model.act_head, model.config
        plain = type(model.context) is PostContext and isinstance(head, LSTMDecoder) and not model.discrete
        if not plain or model.act_encoder or config.state_encoder or model.head_config.fill_zero:
            raise ModelError("only 'post' models with an LSTMDecoder and images as their only input are captured")
        self.model = model
        side, device = config.image_size, model.device
        self._pixels = torch.zeros(1, cameras, 3, side, side, device=device, dtype=model.dtype)
        start = head.init_state()
        self._hidden, self._cell = start.hidden.clone(), start.cell.clone()
        self._oldest, self._restart = (torch.zeros(1, dtype=torch.long, device=device) for _ in range(2))
        self._sequences: dict[int, tuple[Tensor, Tensor]] = {}
        self._graphs: dict[int, _Graph] = {}
        self._length = 0
        self._vision = slice(0)
        self._time = 0

    @torch.no_grad()
    def load(self, instruction: str) -> None:
        """Take an instruction and begin an episode."""
        model, device = self.model, self.model.device
        text = model.embed_text(model.encode_text(instruction))
        images = model.encode_images(self._pixels).flatten(1, 2)
        sequence = model.arrange(images, text)
        exact = sequence.embeddings
        padding = -text.shape[1] % BUCKET
        self._length, self._vision = exact.shape[1] + padding, sequence.vision
        if self._length not in self._sequences:
            self._sequences[self._length] = (
                exact.new_zeros(1, self._length, exact.shape[2]),
                torch.zeros(sequence.action.stop - sequence.action.start, dtype=torch.long, device=device),
            )
        tokens, place = self._sequences[self._length]
        tokens.zero_()
        tokens[:, : exact.shape[1]] = exact
        place.copy_(torch.arange(sequence.action.start, sequence.action.stop, device=device))
        self.reset()

    def reset(self) -> None:
        """Begin an episode with the same instruction."""
        self._time = 0
        self._hidden.zero_()
        self._cell.zero_()

    @torch.no_grad()
    def step(self, pixels: Tensor) -> ActionOutput:
        """Preprocessed images ``(1, cameras, 3, S, S)`` -> a chunk, overwritten by the next step."""
        self._pixels.copy_(pixels)
        window, following = self.model.act_head.window_size, self._time + 1
        if self.model.device.type == "cuda" and self._length not in self._graphs:
            self._graphs[self._length] = self._capture()
        self._oldest.fill_(following % window if following >= window else 0)
        self._restart.fill_(following % window)
        self._time = following
        if self._length not in self._graphs:
            return self.compute()
        captured = self._graphs[self._length]
        captured.graph.replay()
        return captured.output

    @torch.no_grad()
    def compute(self) -> ActionOutput:
        """The step itself, on the tensors that stay: no value is asked for, no shape depends on one."""
        model, head = self.model, self.model.act_head
        tokens, place = self._sequences[self._length]
        tokens[:, self._vision] = model.encode_images(self._pixels).flatten(1, 2)
        hidden = model.language_model(tokens, None)
        feature = head.pool(hidden.index_select(1, place))
        # As `LSTMDecoder.step`, with its two places in the window as tensors.
        copies = feature.expand(head.window_size, *feature.shape).flatten(0, 1).unsqueeze(1)
        output, (state, cell) = head.rnn(copies, (self._hidden.flatten(1, 2), self._cell.flatten(1, 2)))
        self._hidden.copy_(state.view_as(self._hidden).index_fill(1, self._restart, 0))
        self._cell.copy_(cell.view_as(self._cell).index_fill(1, self._restart, 0))
        answer = output.view(head.window_size, feature.shape[0], -1).index_select(0, self._oldest)[0]
        decoded: ActionOutput = head.decode(answer)
        return decoded

    def _capture(self) -> _Graph:
        """Record the step; libraries choose and allocate in a few runs before it. The episode stays as it was."""
        kept = self._hidden.clone(), self._cell.clone()
        side_stream: Any = torch.cuda.Stream(self.model.device)  # type: ignore[no-untyped-call]
        side_stream.wait_stream(torch.cuda.current_stream(self.model.device))
        with torch.cuda.stream(side_stream):
            for _ in range(WARM_UPS):
                self.compute()
        torch.cuda.current_stream(self.model.device).wait_stream(side_stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output = self.compute()
        self._hidden.copy_(kept[0])
        self._cell.copy_(kept[1])
        return _Graph(graph, output)
