"""What is in ``meta/`` of a LeRobot dataset: features, tasks, and where each episode's numbers and videos are.

Written from the format's public description (huggingface/lerobot, docs and dataset cards). Version 2 has a file
per episode; version 3 puts many episodes in a file and says in ``meta/episodes`` where each begins.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from robovlms_ros.data.errors import DataError

_PLACE = re.compile(r"\{(\w+)(?::0?(\d{1,2})d)?\}")
_IMAGE_KINDS = ("video", "image")


class Feature(BaseModel):
    """A column: its type, shape and, perhaps, the names of its numbers."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    dtype: str
    shape: tuple[int, ...] = ()
    names: Any = None

    @property
    def number_names(self) -> list[str]:
        """The names of its numbers in order, empty where there are none; nested ones as they come."""
        found = self.names
        while isinstance(found, Mapping):
            values = list(found.values())
            if all(isinstance(value, int) for value in values):
                return sorted(found, key=lambda name: int(found[name]))
            found = [name for value in values for name in (value if isinstance(value, list) else [value])]
        return [str(name) for name in found] if isinstance(found, list) else []


class Info(BaseModel):
    """``meta/info.json``, of which only this is read."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    codebase_version: str
    fps: float = Field(gt=0)
    data_path: str
    video_path: str | None = None
    chunks_size: int = Field(default=1000, gt=0)
    features: dict[str, Feature]

    @property
    def cameras(self) -> list[str]:
        """The features that are images or videos."""
        return [name for name, feature in self.features.items() if feature.dtype in _IMAGE_KINDS]


@dataclass(frozen=True)
class VideoPart:
    """Where the frames of an episode are: in ``path`` from ``start`` seconds on."""

    path: Path
    start: float = 0.0


@dataclass(frozen=True)
class EpisodeFiles:
    """One episode: its number, task texts, and files. ``videos`` maps features to their parts."""

    index: int
    tasks: tuple[str, ...]
    length: int
    data: Path
    videos: dict[str, VideoPart]


@dataclass(frozen=True)
class Metadata:
    """All that ``meta/`` says. ``tasks`` maps a ``task_index`` to its text."""

    root: Path
    info: Info
    tasks: dict[int, str]
    episodes: list[EpisodeFiles]


def read_metadata(root: Path) -> Metadata:
    """Read ``meta/``. Raises `DataError` where ``root`` is no LeRobot dataset, or one of an unknown version."""
    info = _read_info(root)
    version = info.codebase_version.removeprefix("v")
    if version.startswith("2."):
        episodes = list(_episodes_v2(root, info))
        tasks = {
            row["task_index"]: row["task"] for row in _lines(root / "meta" / "tasks.jsonl", "task_index", "task")
        }
    elif version.startswith("3."):
        episodes = list(_episodes_v3(root, info))
        tasks = _tasks_v3(root / "meta" / "tasks.parquet")
    else:
        raise DataError(f"{root} has version {info.codebase_version}; versions 2.0, 2.1 and 3.0 can be read")
    if not episodes:
        raise DataError(f"{root} has no episodes")
    return Metadata(root, info, tasks, episodes)


def _read_info(root: Path) -> Info:
    path = root / "meta" / "info.json"
    try:
        return Info.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{root} is no LeRobot dataset: it has no meta/info.json") from None
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise DataError(f"{path}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _episodes_v2(root: Path, info: Info) -> Iterator[EpisodeFiles]:
    for row in _lines(root / "meta" / "episodes.jsonl", "episode_index", "length"):
        index = int(row["episode_index"])
        places = {"episode_index": index, "episode_chunk": index // info.chunks_size}
        videos = {
            name: VideoPart(_file(root, info.video_path or "", {**places, "video_key": name}))
            for name, feature in info.features.items()
            if feature.dtype == "video"
        }
        data = _file(root, info.data_path, places)
        yield EpisodeFiles(index, tuple(map(str, row.get("tasks", ()))), int(row["length"]), data, videos)


def _episodes_v3(root: Path, info: Info) -> Iterator[EpisodeFiles]:
    files = sorted((root / "meta" / "episodes").glob("*/*.parquet"))
    if not files:
        raise DataError(f"{root} has no meta/episodes/*/*.parquet")
    for file in files:
        for row in _table(file, lambda name: not name.startswith("stats/")).to_pylist():
            try:
                yield _episode_v3(root, info, row)
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(f"{file} lacks what says where an episode is: {error}") from error


def _episode_v3(root: Path, info: Info, row: Mapping[str, Any]) -> EpisodeFiles:
    def places(prefix: str) -> dict[str, int | str]:
        return {key: int(row[f"{prefix}/{key}"]) for key in ("chunk_index", "file_index")}

    videos = {
        name: VideoPart(
            _file(root, info.video_path or "", {**places(f"videos/{name}"), "video_key": name}),
            float(row[f"videos/{name}/from_timestamp"]),
        )
        for name, feature in info.features.items()
        if feature.dtype == "video"
    }
    data = _file(root, info.data_path, places("data"))
    return EpisodeFiles(int(row["episode_index"]), tuple(row.get("tasks") or ()), int(row["length"]), data, videos)


def _tasks_v3(path: Path) -> dict[int, str]:
    table = _table(path, lambda name: True)
    # The text is the table's index, which pandas names in several ways.
    texts = [name for name in table.column_names if pa.types.is_string(table.schema.field(name).type)]
    texts += [name for name in table.column_names if pa.types.is_large_string(table.schema.field(name).type)]
    if "task_index" not in table.column_names or not texts:
        raise DataError(f"{path} has the columns {', '.join(table.column_names)}, not task_index and a text")
    text = "task" if "task" in texts else texts[0]
    return dict(zip(table["task_index"].to_pylist(), table[text].to_pylist(), strict=True))


def _table(path: Path, wanted: Any) -> pa.Table:
    try:
        names = pq.read_schema(path).names
        return pq.read_table(path, columns=[name for name in names if wanted(name)], partitioning=None)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _lines(path: Path, *keys: str) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if not all(key in row for key in keys):
                raise ValueError(f"it needs {' and '.join(keys)}")
        except (ValueError, TypeError) as error:
            raise DataError(f"{path} line {number}: {error}") from error
        yield row


def _file(root: Path, template: str, places: Mapping[str, int | str]) -> Path:
    """A path that ``info.json`` describes, below ``root``. Only whole numbers and names are put in."""

    def put(match: re.Match[str]) -> str:
        value = places.get(match[1])
        if value is None:
            raise DataError(f"{root}/meta/info.json: the path {template!r} has an unknown place {match[0]}")
        return str(value).zfill(int(match[2] or 0))

    path = PurePosixPath(_PLACE.sub(put, template))
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise DataError(f"{root}/meta/info.json: the path {template!r} is not below the dataset")
    return root / path
