"""Features of a frozen image encoder, computed once per image instead of once per window and epoch.

They lie in a file per camera that is mapped, so memory holds what the kernel finds worth it, and worker processes
share it.
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robovlms_ros.data.errors import DataError
from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.errors import ConfigError

logger = logging.getLogger(__name__)
Level = Literal["tokens", "patches"]
"""What is kept: image tokens, projector included, or what the image encoder alone made of an image."""
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_BITS: dict[str, np.dtype[Any]] = {"float32": np.dtype(np.float32), "bfloat16": np.dtype(np.uint16)}


@dataclass(frozen=True)
class FeatureInfo:
    """``shape`` of one image's features, their type, the number of images, and what all of it depends on."""

    level: Level
    shape: tuple[int, ...]
    dtype: str
    rows: int
    cameras: tuple[str, ...]
    fingerprint: str

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return self.rows * len(self.cameras) * math.prod(self.shape) * _BITS[self.dtype].itemsize


class FeatureStore:
    """Kept features by camera and row; a row that could not be computed is unreadable, as its image was."""

    def __init__(self, folder: Path, info: FeatureInfo) -> None:
        self.folder = folder
        self.info = info
        self._maps: dict[str, NDArray[np.generic]] = {}

    @classmethod
    def create(cls, folder: Path, info: FeatureInfo) -> FeatureStore:
        """Files of the right size, empty. Raises `ConfigError` where the disk has no room for them."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        free = shutil.disk_usage(folder).free
        if info.bytes > free:
            raise ConfigError(
                f"the image features need {info.bytes / 1e9:.1f} GB, {folder} has {free / 1e9:.1f} GB left; set "
                "feature_cache.folder to a larger disk, or feature_cache.mode to 'off'"
            )
        store = cls(folder, info)
        for name in (*info.cameras, "readable"):
            store._open(name, "w+")
            _reserve(folder / f"{name}.bin")
        return store

    @classmethod
    def reopen(cls, folder: Path, info: FeatureInfo) -> FeatureStore | None:
        """The features in ``folder`` if they are complete and those of ``info``; else None."""
        try:
            found = json.loads((folder / "features.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return cls(folder, info) if found == json.loads(json.dumps(asdict(info))) else None

    def flush(self) -> None:
        """Hand what was written to the operating system."""
        for written in self._maps.values():
            written.flush()  # type: ignore[attr-defined]  # they are memmaps
        self._maps.clear()

    def finish(self) -> None:
        """Note that every row has been written."""
        (self.folder / "features.json").write_text(json.dumps(asdict(self.info)), encoding="utf-8")

    def write(self, camera: str, rows: NDArray[np.int64], features: Tensor) -> None:
        """Keep ``(len(rows), ...)``."""
        stored = features.to("cpu", _DTYPES[self.info.dtype]).contiguous()
        bits = stored.view(torch.uint16) if self.info.dtype == "bfloat16" else stored
        self._open(camera, "r+")[rows] = bits.numpy()
        self._open("readable", "r+")[rows, self.info.cameras.index(camera)] = True

    def read(self, camera: str, rows: NDArray[np.int64]) -> Tensor:
        """``(len(rows), ...)`` in the type that they were kept in. Raises `DataError` for unreadable ones."""
        readable = self._open("readable", "r")[rows, self.info.cameras.index(camera)]
        if not readable.all():
            raise DataError(f"image {int(rows[~readable][0])} of camera {camera!r} could not be read")
        kept = torch.from_numpy(np.asarray(self._open(camera, "r")[rows]))
        return kept.view(torch.bfloat16) if self.info.dtype == "bfloat16" else kept

    def _open(self, name: str, mode: Literal["r", "r+", "w+"]) -> NDArray[np.generic]:
        if name not in self._maps or mode == "w+":
            readable = name == "readable"
            shape = (self.info.rows, len(self.info.cameras)) if readable else (self.info.rows, *self.info.shape)
            dtype: np.dtype[Any] = np.dtype(np.bool_) if readable else _BITS[self.info.dtype]
            self._maps[name] = np.memmap(self.folder / f"{name}.bin", dtype, mode, shape=shape)
        return self._maps[name]

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_maps": {}}


def _reserve(path: Path) -> None:
    """Take the room now: on a disk that fills up later, writing to a mapped file would kill the process."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def keepable(model: BaseRoboVLM) -> tuple[Level, tuple[int, ...]] | None:
    """The furthest features of an image that no training step changes, with their shape; None without any.

    Looked up by asking: an image is encoded twice, and features that carry a gradient or differ (dropout) change.
    """
    side = model.config.image_size
    pixels = torch.zeros(1, 3, side, side, device=model.device, dtype=model.dtype)
    with torch.enable_grad():
        tokens = model.image_features(pixels)
        if not tokens.requires_grad and torch.equal(tokens, model.image_features(pixels)):
            return "tokens", tuple(tokens.shape[1:])
        if not model.has_projector():
            return None
        patches = model.patch_features(pixels)
        if not patches.requires_grad and torch.equal(patches, model.patch_features(pixels)):
            return "patches", tuple(patches.shape[1:])
    return None


def features_of(model: BaseRoboVLM, level: Level, pixels: Tensor) -> Tensor:
    """Preprocessed images ``(b, 3, S, S)`` -> what is kept of them."""
    return model.image_features(pixels) if level == "tokens" else model.patch_features(pixels)
