"""The files of a dataset folder and what they must hold, checked when they are read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal, TypeVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from robovlms_ros.data.episodes import ACTION_DIM, RotationFormat
from robovlms_ros.data.errors import DataError
from robovlms_ros.data.images import Encoding
from robovlms_ros.data.report import Drop, DropGroup

FORMAT = 1
DATASET_FILE = "dataset.json"
EPISODES_FILE = "episodes.jsonl"
SHARDS = "shards"

Camera = Literal["static", "hand"]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ImageFormat(_File):
    """How images are stored: re-encoded, or byte for byte as they were recorded."""

    encoding: Encoding = "jpeg"
    quality: int = Field(default=95, ge=1, le=100)
    """Of JPEG."""
    resize: int | None = Field(default=None, ge=8, le=4096)
    """Side of the square that whole images are scaled to; None leaves them as they are."""
    keep_recorded: bool = True
    """Whether images that were recorded as JPEG or PNG stay as they are, where they are not resized."""


class Origin(_File):
    """Where the episodes came from. Two imports with equal origins continue one another."""

    importer: str
    path: str
    options: dict[str, Any] = {}


class DatasetInfo(_File):
    """``dataset.json``; counts and ``dropped`` are those of the finished import."""

    format: Literal[1] = 1
    name: str = Field(min_length=1)
    cameras: tuple[Camera, ...]
    rotation_format: RotationFormat
    frame: str = Field(min_length=1)
    step_duration: float = Field(gt=0)
    """Seconds, of the first episode."""
    images: ImageFormat
    origin: Origin
    complete: bool = False
    episodes: int = Field(default=0, ge=0)
    steps: int = Field(default=0, ge=0)
    dropped: tuple[DropGroup, ...] = ()


class EpisodeRow(_File):
    """One line of ``episodes.jsonl``. ``source`` and ``last_part`` say where an interrupted import goes on."""

    identifier: str = Field(min_length=1)
    instruction: str
    steps: int = Field(ge=1)
    step_duration: float = Field(gt=0)
    source: int = Field(ge=0)
    """Number of the episode in what it was imported from."""
    last_part: bool = True
    """False where a later episode is of the same one of the source, which was divided."""
    shard: int = Field(ge=0)
    batch: int = Field(ge=0)
    dropped: tuple[Drop, ...] = ()


def shard_name(number: int) -> str:
    """The file name of a shard."""
    return f"{number:06d}.arrow"


def image_column(camera: str) -> str:
    """The column of a camera's encoded images."""
    return f"images.{camera}"


def shard_schema(cameras: tuple[str, ...]) -> pa.Schema:
    """Columns of a shard, one row per step; ``states`` and ``stamps`` (nanoseconds) may be null."""
    row = pa.list_(pa.float64(), ACTION_DIM)
    images = [pa.field(image_column(camera), pa.large_binary(), nullable=False) for camera in cameras]
    numbers = [
        pa.field("actions", row, nullable=False),
        pa.field("states", row),
        pa.field("stamps", pa.int64()),
    ]
    return pa.schema([*images, *numbers])


Model = TypeVar("Model", bound=BaseModel)


def parse(model: type[Model], text: str, where: str) -> Model:
    """``text`` as a ``model``. Raises `DataError` naming ``where`` and the key."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise DataError(f"{where}: {key + ': ' if key else ''}{problem['msg']}") from error


def read_info(folder: Path) -> DatasetInfo:
    """``dataset.json`` of a folder. Raises `DataError` where there is none, or one that cannot be used."""
    path = folder / DATASET_FILE
    try:
        text = path.read_text(encoding="utf-8")
        newest = json.loads(text).get("format", FORMAT)
    except FileNotFoundError:
        raise DataError(
            f"{folder} is no dataset folder: it has no {DATASET_FILE}; make one with 'robovlms import-bag' or "
            "'robovlms data import-calvin' or 'import-lerobot'"
        ) from None
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if isinstance(newest, int) and newest > FORMAT:
        raise DataError(f"{path} has format {newest}, this version reads up to {FORMAT}; update robovlms_ros")
    return parse(DatasetInfo, text, str(path))


def write_info(folder: Path, info: DatasetInfo) -> None:
    """Replace ``dataset.json``, all of it or not at all. Raises OSError."""
    aside = folder / f".{DATASET_FILE}"
    with aside.open("w", encoding="utf-8") as file:
        file.write(info.model_dump_json(indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    aside.replace(folder / DATASET_FILE)


def read_rows(folder: Path) -> list[EpisodeRow]:
    """The lines of ``episodes.jsonl``; a last one without its end of line was never finished and is left out."""
    path = folder / EPISODES_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    # Not splitlines(), which also divides at characters that JSON may hold.
    lines = text.split("\n")[:-1]
    return [parse(EpisodeRow, line, f"{path} line {number}") for number, line in enumerate(lines, 1)]
