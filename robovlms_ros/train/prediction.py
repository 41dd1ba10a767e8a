"""What a network answers for given windows, beside what was recorded: for evaluation on held-out episodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robovlms_ros.model.policy_head.base_policy import ActionOutput
from robovlms_ros.train.batch import Batch, Collate
from robovlms_ros.train.network import TrainingNetwork
from robovlms_ros.train.order import SampleKey
from robovlms_ros.train.window_dataset import WindowDataset


@dataclass(frozen=True)
class PredictedWindow:
    """The chunk for the newest step of a window.

    ``episode`` and ``step`` say which step that is. ``predicted`` and ``recorded`` are ``(N, action_dim)`` float32
    as the model has them: pose in [-1, 1], gripper 0 or 1. ``mask`` ``(N,)`` is False beyond the episode's end.
    A discrete model that answers with one action at a time has ``N = 1``.
    """

    episode: str
    step: int
    predicted: NDArray[np.float32]
    recorded: NDArray[np.float32]
    mask: NDArray[np.bool_]


@torch.no_grad()
def predict_windows(
    network: TrainingNetwork,
    dataset: WindowDataset,
    collate: Collate,
    windows: Sequence[int],
    batch_size: int = 8,
    device: torch.device | str = "cpu",
) -> Iterator[PredictedWindow]:
    """Predict windows of ``dataset`` by number, in their order, as a robot would at their newest step.

    A window whose images cannot be read is replaced by the next one that can; its result says which.
    """
    was_training = network.training
    network.eval()
    try:
        for first in range(0, len(windows), batch_size):
            samples = [dataset[SampleKey(number, None)] for number in windows[first : first + batch_size]]
            # One prompt at a time where they differ: a robot's is never padded.
            groups: dict[str, list[int]] = {}
            for row, sample in enumerate(samples):
                groups.setdefault(sample.instruction, []).append(row)
            found: dict[int, PredictedWindow] = {}
            for rows in groups.values():
                batch = collate([samples[row] for row in rows]).to(device)
                for row, window in zip(rows, _predict(network, batch, dataset), strict=True):
                    found[row] = window
            yield from (found[row] for row in range(len(samples)))
    finally:
        network.train(was_training)


def _predict(network: TrainingNetwork, batch: Batch, dataset: WindowDataset) -> Iterator[PredictedWindow]:
    output = _answers(network, batch) if network.vla.discrete else network.predict(batch).newest()
    predicted, recorded = output.pose, batch.pose[:, -1]
    if output.gripper is not None and batch.gripper is not None:
        opens = (output.gripper.sigmoid() > 0.5).to(predicted)
        predicted = torch.cat([predicted, opens.unsqueeze(-1)], dim=-1)
        recorded = torch.cat([recorded, batch.gripper[:, -1].unsqueeze(-1)], dim=-1)
    length = predicted.shape[1]
    for row in range(len(predicted)):
        yield PredictedWindow(
            episode=dataset.table.identifiers[int(batch.episode[row])],
            step=int(batch.steps[row, -1]),
            predicted=_numbers(predicted[row]),
            recorded=_numbers(recorded[row, :length]),
            mask=batch.mask[row, -1, :length].cpu().numpy(),
        )


def _answers(network: TrainingNetwork, batch: Batch) -> ActionOutput:
    """A discrete model's: word by word, with the images of the whole window where its history wants them."""
    vla = network.vla
    static, hand = network.images(batch.static), None if batch.hand is None else network.images(batch.hand)
    cameras = torch.stack([static] if hand is None else [hand, static], dim=2)
    encode = vla.encode_images if static.ndim == 5 else vla.image_tokens
    prompts = torch.tensor(
        [vla.encode_text(text)[0].tolist() for text in batch.instructions], device=static.device
    )
    text, memory = vla.embed_text(prompts), vla.init_state(len(prompts))
    first = 0 if vla.head_config.history_type != "post" else cameras.shape[1] - 1
    for step in range(first, cameras.shape[1]):
        memory, tokens = vla.observe(memory, encode(cameras[:, step]), text)
    _, output = vla.decide(memory, tokens)
    return output


def _numbers(tensor: Tensor) -> NDArray[np.float32]:
    return np.asarray(tensor.float().cpu().numpy())
