"""Fills a `FeatureStore`: every image through the frozen encoder, once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from robovlms_ros.data.errors import DataError
from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.checkpoint import weights_digest
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.policy.preprocess import ImagePreprocessor
from robovlms_ros.train.config import TrainingConfig
from robovlms_ros.train.features import FeatureInfo, FeatureStore, Level, features_of, keepable
from robovlms_ros.train.reading import batches as read
from robovlms_ros.train.window_dataset import WindowDataset

_BATCH = 32
Progress = Callable[[int, int], None]
"""Called with the images that are done and those that there are."""


def choose_level(config: TrainingConfig, model: BaseRoboVLM, images: int) -> tuple[Level, tuple[int, ...]] | None:
    """What to keep of ``images`` images, and its shape; None for nothing.

    Raises `ConfigError` where ``feature_cache.mode`` is "on" and nothing can be kept.
    """
    settings, shift = config.feature_cache, config.data.shift
    if settings.mode == "off":
        return None
    level = None
    if shift.static or (model.config.use_hand_rgb and shift.hand):
        reason = "images are shifted at random (data.shift): their features differ each time"
    else:
        reason = "the image encoder is trained (train_setup.train_vision)"
        level = keepable(model)
    if level is None:
        if settings.mode == "on":
            raise ConfigError(f"feature_cache.mode is 'on', but {reason}; set it to 'auto'")
        return None
    size = images * int(np.prod(level[1])) * (2 if config.optim.precision == "bfloat16" else 4)
    return None if settings.mode == "auto" and size > settings.limit_gb * 1e9 else level


def keep_features(
    accelerator: Any,
    model: BaseRoboVLM,
    level: tuple[Level, tuple[int, ...]],
    dataset: WindowDataset,
    preprocess: ImagePreprocessor,
    folder: Path,
    precision: str,
    workers: int = 0,
    progress: Progress = lambda done, total: None,
) -> FeatureStore:
    """The features of all images of a dataset, from ``folder`` where they lie there already.

    Every process computes its share; all must see the same ``folder``.
    """
    kind, shape = level
    rows = int(dataset.table.starts[-1])
    print_of = fingerprint(model, dataset, kind, preprocess)
    info = FeatureInfo(kind, shape, precision, rows, dataset.cameras, print_of)
    store = FeatureStore.reopen(folder, info)
    if store is not None:
        return store
    if accelerator.is_main_process:
        FeatureStore.create(folder, info)
    accelerator.wait_for_everyone()
    store = FeatureStore(folder, info)
    frames = _Frames(dataset, preprocess)
    share = range(accelerator.process_index * _BATCH, len(frames), accelerator.num_processes * _BATCH)
    batches = [list(range(first, min(first + _BATCH, len(frames)))) for first in share]
    was_training = model.training
    model.eval()
    for done, (numbers, images) in enumerate(read(frames, batches, _together, workers), start=1):
        if len(numbers):
            with torch.no_grad(), accelerator.autocast():
                features = features_of(model, kind, preprocess.normalize(images))
            places = [frames.place(number) for number in numbers]
            for camera in dataset.cameras:
                chosen = [i for i, (name, _) in enumerate(places) if name == camera]
                if chosen:
                    store.write(camera, np.array([places[i][1] for i in chosen]), features[chosen])
        progress(min(done * _BATCH * accelerator.num_processes, len(frames)), len(frames))
    model.train(was_training)
    store.flush()
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        store.finish()
    accelerator.wait_for_everyone()
    return FeatureStore(folder, info)


def fingerprint(model: BaseRoboVLM, dataset: WindowDataset, level: Level, preprocess: ImagePreprocessor) -> str:
    """A digest of all that the features depend on."""
    encoder = {id(weight) for weight in model.vision_tower.parameters()}
    language = {id(weight) for weight in model.text_tower.parameters()} - encoder
    image_path = {
        name: weight.detach()
        for name, weight in model.backbone.named_parameters()
        if (id(weight) in encoder if level == "patches" else id(weight) not in language)
    }
    table = dataset.table
    parts = {
        "weights": weights_digest(image_path),
        "level": level,
        "preprocess": preprocess.mode,
        "episodes": list(table.identifiers),
        "images": _sample_of_images(dataset),
        "actions": hashlib.sha256(table.labels.tobytes()).hexdigest(),
    }
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _sample_of_images(dataset: WindowDataset) -> str:
    """A digest of some images: the same recordings may have been imported in another size."""
    digest = hashlib.sha256()
    for episode in sorted(set(np.linspace(0, len(dataset.table) - 1, 16).astype(int).tolist())):
        for camera in dataset.cameras:
            try:
                digest.update(dataset.open_episode(episode).image(camera, 0).tobytes())
            except DataError as error:
                digest.update(str(error).encode())
    return digest.hexdigest()


class _Frames(Dataset[tuple[int, Tensor | None]]):
    """Every image of every camera, resized; None for one that cannot be read."""

    def __init__(self, dataset: WindowDataset, preprocess: ImagePreprocessor) -> None:
        self._dataset, self._preprocess = dataset, preprocess
        self._steps = int(dataset.table.starts[-1])

    def __len__(self) -> int:
        return self._steps * len(self._dataset.cameras)

    def place(self, number: int) -> tuple[str, int]:
        """Camera and row of an image."""
        camera, row = divmod(number, self._steps)
        return self._dataset.cameras[camera], row

    def __getitem__(self, number: int) -> tuple[int, Tensor | None]:
        camera, row = self.place(number)
        starts = self._dataset.table.starts
        episode = int(np.searchsorted(starts, row, side="right")) - 1
        try:
            image = self._dataset.open_episode(episode).image(camera, row - int(starts[episode]))
        except DataError as error:
            self._dataset.report(str(error))
            return number, None
        return number, self._preprocess.resize([image])


def _together(items: list[tuple[int, Tensor | None]]) -> tuple[list[int], Tensor]:
    readable = [(number, image) for number, image in items if image is not None]
    images = [image for _, image in readable]
    return [number for number, _ in readable], torch.cat(images) if images else torch.zeros(0)
