"""What a model is trained on: one window, and a batch of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Sample(NamedTuple):
    """One window. See `Batch`, of which this is a row without padding.

    ``ids`` and ``labels`` are one list per row of text: one, or with discrete actions one per step.
    """

    static: Tensor
    hand: Tensor | None
    ids: list[list[int]]
    labels: list[list[int]] | None
    pose: Tensor
    gripper: Tensor | None
    mask: Tensor
    history: Tensor | None
    history_valid: Tensor | None
    state: Tensor | None
    instruction: str
    episode: int
    identifier: str
    steps: Tensor


class Batch(NamedTuple):
    """``B`` windows of ``W`` steps with chunks of ``N`` actions.

    * ``static``, ``hand``: images ``(B, W, 3, S, S)``, uint8 or already preprocessed; or kept features
      ``(B, W, V, D)``, see `robovlms_ros.train.features`.
    * ``ids``, ``text_mask``: prompts ``(B, T)``, padded on the right; discrete: prompts and answers ``(B, W, T)``
      with their ``labels``. ``lengths``: of each window's rows without padding.
    * ``pose`` ``(B, W, N, pose_dim)`` in [-1, 1], ``gripper`` ``(B, W, N)`` 0 or 1, and ``mask`` ``(B, W, N)``,
      False where an action lies outside the episode.
    * ``history`` ``(B, W, H, action_dim)`` with ``history_valid`` ``(B, W, H)``; ``state`` ``(B, W, 7)``.
    * ``instructions``, ``episode`` ``(B,)``, ``identifiers`` of episodes, and ``steps`` ``(B, W)``: where it is
      from.
    """

    static: Tensor
    hand: Tensor | None
    ids: Tensor
    text_mask: Tensor | None
    lengths: list[int]
    labels: Tensor | None
    pose: Tensor
    gripper: Tensor | None
    mask: Tensor
    history: Tensor | None
    history_valid: Tensor | None
    state: Tensor | None
    instructions: list[str]
    episode: Tensor
    identifiers: list[str]
    steps: Tensor

    def to(self, device: torch.device | str) -> Batch:
        """The same on another device."""
        moved: list[Any] = [_moved(part, device) for part in self]
        return Batch(*moved)

    def rows(self, chosen: Sequence[int]) -> Batch:
        """These windows alone."""
        parts: list[Any] = [_picked(part, chosen) for part in self]
        return Batch(*parts)

    def by_length(self) -> list[tuple[list[int], Batch]]:
        """Parts whose prompts are equally long, without padding, each with the places of its windows here."""
        places: dict[int, list[int]] = {}
        for place, length in enumerate(self.lengths):
            places.setdefault(length, []).append(place)
        if len(places) == 1:
            return [(list(range(len(self.lengths))), self._trimmed(self.lengths[0]))]
        return [(chosen, self.rows(chosen)._trimmed(length)) for length, chosen in sorted(places.items())]

    def _trimmed(self, length: int) -> Batch:
        labels = None if self.labels is None else self.labels[..., :length]
        mask = None if self.text_mask is None else self.text_mask[..., :length]
        return self._replace(ids=self.ids[..., :length], text_mask=mask, labels=labels)


class Collate:
    """Samples -> a batch; prompts are padded on the right with ``pad_id``."""

    def __init__(self, pad_id: int, ignored_label: int) -> None:
        self._pad_id, self._ignored = pad_id, ignored_label

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """Stack ``samples``, at least one."""
        first = samples[0]
        ids = [row for sample in samples for row in sample.ids]
        length = max(map(len, ids))
        discrete = first.labels is not None
        shape = (len(samples), -1, length) if discrete else (len(samples), length)
        labels = [row for sample in samples for row in sample.labels or ()]

        def stacked(name: str) -> Any:
            parts = [getattr(sample, name) for sample in samples]
            return None if parts[0] is None else torch.stack(parts)

        return Batch(
            static=stacked("static"),
            hand=stacked("hand"),
            ids=_padded(ids, length, self._pad_id).view(shape),
            text_mask=_padded([[1] * len(row) for row in ids], length, 0).bool().view(shape),
            lengths=[len(sample.ids[0]) for sample in samples],
            labels=_padded(labels, length, self._ignored).view(shape) if discrete else None,
            pose=stacked("pose"),
            gripper=stacked("gripper"),
            mask=stacked("mask"),
            history=stacked("history"),
            history_valid=stacked("history_valid"),
            state=stacked("state"),
            instructions=[sample.instruction for sample in samples],
            episode=torch.tensor([sample.episode for sample in samples]),
            identifiers=[sample.identifier for sample in samples],
            steps=stacked("steps"),
        )


def _padded(rows: Sequence[Sequence[int]], length: int, value: int) -> Tensor:
    return torch.tensor([[*row, *[value] * (length - len(row))] for row in rows], dtype=torch.int64)


def _moved(part: Any, device: torch.device | str) -> Any:
    return part.to(device, non_blocking=True) if isinstance(part, Tensor) else part


def _picked(part: Any, chosen: Sequence[int]) -> Any:
    if isinstance(part, Tensor):
        return part[torch.tensor(list(chosen), device=part.device)]
    return [part[row] for row in chosen] if isinstance(part, list) else part
