"""Episodes as windows that a model is trained on. Images are read when a window is asked for, and not kept."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from robovlms_ros.data.augmentation import RandomShift
from robovlms_ros.data.episodes import Episode, EpisodeSource
from robovlms_ros.data.errors import DataError
from robovlms_ros.data.windows import Sampling, Windows, chunks, episode_windows, observed_frames
from robovlms_ros.model.config import RoboVLMConfig
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.policy.preprocess import ImagePreprocessor
from robovlms_ros.train.batch import Sample
from robovlms_ros.train.episode_table import EpisodeTable
from robovlms_ros.train.features import FeatureStore
from robovlms_ros.train.order import SampleKey
from robovlms_ros.train.text_rows import PromptRows

logger = logging.getLogger(__name__)
# Episodes held open at a time.
_OPEN_EPISODES = 32
# So many unreadable windows one behind the other are a broken disk, not a corrupt image.
_MOST_UNREADABLE = 1000


@dataclass(frozen=True)
class WindowSettings:
    """How windows are cut and what is random about them; see `robovlms_ros.data.windows.episode_windows`.

    ``skip`` takes every so-manieth window. ``shift`` is the largest random shift in pixels per camera, 0 for none.
    ``history_dropout`` is the chance of each row of the action history to be hidden, as if its message were lost.
    """

    sampling: Sampling = "sliding"
    left_pad: bool = False
    skip: int = 1
    shift: Mapping[str, int] | None = None
    history_dropout: float = 0.0


class Place(NamedTuple):
    """Where a window lies: its episode, the frames seen ``(W,)``, the frames acted at ``(W + N,)``, their mask."""

    episode: int
    seen: NDArray[np.int64]
    frames: NDArray[np.int64]
    mask: NDArray[np.bool_]


class WindowDataset(Dataset[Sample]):
    """All windows of a table of episodes.

    Args:
        sources: what ``table`` was made of.
        table: the episodes.
        config: the model's configuration.
        text: makes its rows of text.
        preprocess: resizes its images.
        settings: which windows.
        features: kept features of the images, which are then not read.

    An image that cannot be read is reported once, and every window with it is replaced by the next one that can.
    """

    def __init__(
        self,
        sources: Sequence[EpisodeSource],
        table: EpisodeTable,
        config: RoboVLMConfig,
        text: PromptRows,
        preprocess: ImagePreprocessor,
        settings: WindowSettings | None = None,
        features: FeatureStore | None = None,
    ) -> None:
        self.table = table
        self.settings = settings or WindowSettings()
        self.features = features
        self._sources = sources
        self._config = config
        self._text = text
        self._preprocess = preprocess
        head = config.act_head
        assert head is not None  # the model was built with it
        self._pose_dim, self._with_gripper = head.pose_dim, head.with_gripper
        self.cameras = ("static", "hand") if config.use_hand_rgb else ("static",)
        counts = [self._count(table.length(episode)) for episode in range(len(table))]
        self.too_short = [table.identifiers[episode] for episode, count in enumerate(counts) if not count]
        self._first = np.cumsum([0, *counts])
        self._open: OrderedDict[int, Episode] = OrderedDict()
        self._reported: set[str] = set()
        if self.too_short:
            logger.warning(
                "%d episodes are shorter than the window of %d steps and give none (%s); set windows.left_pad to "
                "train on them, with their first frame repeated",
                *(len(self.too_short), config.window_size, ", ".join(self.too_short[:5])),
            )
        if not len(self):
            raise ConfigError(
                f"all {len(table)} episodes are shorter than the window of {config.window_size} steps; set "
                "windows.left_pad to true, or choose a model with a smaller window_size"
            )

    def __len__(self) -> int:
        return int(self._first[-1])

    def __getitem__(self, key: SampleKey) -> Sample:
        """The window of ``key``, or the next one whose images can be read."""
        error: DataError | None = None
        for offset in range(min(len(self), _MOST_UNREADABLE)):
            try:
                return self._sample((key.window + offset) % len(self), key.seed)
            except DataError as caught:
                error = caught
                self.report(str(caught))
        raise DataError(f"no window can be read any more; the last error was: {error}")

    def place(self, window: int) -> Place:
        """Where window number ``window`` lies."""
        episode = int(np.searchsorted(self._first, window, side="right")) - 1
        number = (window - int(self._first[episode])) * self.settings.skip
        cut = self._windows(self.table.length(episode))
        one = Windows(cut.frames[number : number + 1], cut.mask[number : number + 1])
        return Place(episode, observed_frames(one, self._config.window_size)[0], one.frames[0], one.mask[0])

    def open_episode(self, episode: int) -> Episode:
        """An episode of the table; the last few stay open."""
        if episode not in self._open:
            source, index = self.table.where[episode]
            self._open[episode] = self._sources[source][int(index)]
            if len(self._open) > _OPEN_EPISODES:
                self._open.popitem(last=False)
        self._open.move_to_end(episode)
        return self._open[episode]

    def _count(self, length: int) -> int:
        return len(range(0, len(self._windows(length).frames), self.settings.skip))

    def _windows(self, length: int) -> Windows:
        config, settings = self._config, self.settings
        return _cut(length, config.window_size, config.fwd_pred_next_n, settings.sampling, settings.left_pad)

    def _sample(self, window: int, seed: int | None) -> Sample:
        config, place = self._config, self.place(window)
        random = None if seed is None else torch.Generator().manual_seed(seed)
        start, number = int(self.table.starts[place.episode]), int(self.table.instruction_of[place.episode])
        size = config.window_size, config.fwd_pred_next_n
        labels = np.array(chunks(self.table.labels[start + place.frames], *size))
        mask = np.array(chunks(place.mask[:, None], *size)[..., 0])
        ids, answer = self._text.rows(self.table.prompts[number], labels, mask)
        history, valid = self._history(start, place.seen, random)
        return Sample(
            static=self._images("static", place, random),
            hand=self._images("hand", place, random) if "hand" in self.cameras else None,
            ids=ids,
            labels=answer,
            pose=torch.from_numpy(labels[..., : self._pose_dim]),
            gripper=torch.from_numpy(labels[..., -1]) if self._with_gripper else None,
            mask=torch.from_numpy(mask),
            history=history,
            history_valid=valid,
            state=self._state(start + place.seen),
            instruction=self.table.instructions[number],
            episode=place.episode,
            identifier=self.table.identifiers[place.episode],
            steps=torch.from_numpy(place.seen),
        )

    def _images(self, camera: str, place: Place, random: torch.Generator | None) -> Tensor:
        if self.features is not None:
            return self.features.read(camera, self.table.starts[place.episode] + place.seen)
        episode, frames = self.open_episode(place.episode), place.seen
        # A window that begins before its episode repeats the first frame.
        unique, places = np.unique(frames, return_inverse=True)
        images = self._preprocess.resize([episode.image(camera, int(step)) for step in unique])[places]
        pad = (self.settings.shift or {}).get(camera, 0)
        return images if random is None or not pad else RandomShift(pad, generator=random)(images)

    def _history(
        self, start: int, seen: NDArray[np.int64], random: torch.Generator | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """The actions before each frame, as a robot has executed them by then: never the one to be predicted."""
        encoder = self._config.act_encoder
        if encoder is None:
            return None, None
        steps = seen[:, None] + np.arange(-encoder.window, 0)
        valid = torch.from_numpy(steps >= 0)
        rows = torch.from_numpy(self.table.labels[start + steps.clip(0)])
        if random is not None and self.settings.history_dropout:
            valid &= torch.rand(valid.shape, generator=random) >= self.settings.history_dropout
        return torch.where(valid.unsqueeze(-1), rows, 0.0), valid

    def _state(self, rows: NDArray[np.int64]) -> Tensor | None:
        return None if self.table.states is None else torch.from_numpy(self.table.states[rows])

    def report(self, problem: str) -> None:
        """Say once what could not be read."""
        if problem not in self._reported:
            self._reported.add(problem)
            logger.warning("%s; the windows with it are left out", problem)

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_open": OrderedDict()}


@lru_cache(maxsize=512)
def _cut(length: int, window: int, chunk: int, sampling: Sampling, left_pad: bool) -> Windows:
    return episode_windows(length, window, chunk, sampling=sampling, left_pad=left_pad)
