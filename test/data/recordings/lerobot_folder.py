"""Writes small LeRobot datasets for tests with pyarrow and PyAV, in the layouts of versions 2.1 and 3.0."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from robovlms_ros.data.images import encode

FPS = 10
NAMES = ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]
SIDE = 32


@dataclass
class Recorded:
    """Actions and states ``(T, 7)``, and the task of each step."""

    actions: np.ndarray
    states: np.ndarray
    tasks: list[str]

    def __len__(self) -> int:
        return len(self.actions)


def recorded(number: int, steps: int, task: str | None = None) -> Recorded:
    random = np.random.default_rng(number)
    actions = random.uniform(-0.05, 0.05, (steps, 7)).astype(np.float32)
    actions[:, 6] = random.integers(0, 2, steps)
    states = random.uniform(-0.5, 0.5, (steps, 7)).astype(np.float32)
    states[:, 6] = random.uniform(0, 1, steps)
    return Recorded(actions, states, [task or f"task {number % 2}"] * steps)


def grey(episode: int, step: int, camera: int = 0) -> int:
    """The grey that a frame is filled with: its own among its neighbours, and what a codec keeps."""
    return (40 * episode + 6 * step + 100 * camera) % 230 + 10


def picture(episode: int, step: int, camera: int = 0) -> np.ndarray:
    return np.full((SIDE, SIDE, 3), grey(episode, step, camera), np.uint8)


def write_video(path: Path, frames: Sequence[np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "12", "g": "8", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
        stream.time_base = Fraction(1, FPS)
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def write(
    root: Path,
    episodes: Sequence[Recorded],
    *,
    version: str = "v2.1",
    cameras: Sequence[str] = ("observation.images.front",),
    stored: bool = False,
    names: Any = NAMES,
) -> Path:
    """A dataset; with ``stored`` its images are in the tables rather than in videos."""
    tasks = sorted({task for episode in episodes for task in episode.tasks})
    column = {"dtype": "float32", "shape": [7], "names": names}
    kind = {
        "dtype": "image" if stored else "video",
        "shape": [SIDE, SIDE, 3],
        "names": ["height", "width", "channels"],
    }
    scalars = ("timestamp", "frame_index", "episode_index", "index", "task_index")
    v3 = version.startswith("v3")
    group = "chunk-{chunk_index:03d}/file-{file_index:03d}"
    info = {
        "codebase_version": version,
        "robot_type": "test",
        "total_episodes": len(episodes),
        "chunks_size": 2,
        "fps": FPS,
        "splits": {"train": f"0:{len(episodes)}"},
        "data_path": f"data/{group}.parquet"
        if v3
        else "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": f"videos/{{video_key}}/{group}.mp4"
        if v3
        else "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": {
            "action": column,
            "observation.state": column,
            **{camera: kind for camera in cameras},
            **{name: {"dtype": "float32" if name == "timestamp" else "int64", "shape": [1]} for name in scalars},
        },
    }
    (root / "meta").mkdir(parents=True)
    (root / "meta" / "info.json").write_text(json.dumps(info))
    tables = [table(number, one, tasks, cameras if stored else ()) for number, one in enumerate(episodes)]
    if v3:
        _write_v3(root, episodes, tables, tasks, () if stored else cameras)
    else:
        _write_v2(root, episodes, tables, tasks, () if stored else cameras)
    return root


def table(number: int, episode: Recorded, tasks: list[str], stored: Sequence[str]) -> pa.Table:
    steps = len(episode)
    frame = pa.array(np.arange(steps))
    columns: dict[str, Any] = {
        "action": pa.array(episode.actions.tolist(), pa.list_(pa.float32())),
        "observation.state": pa.array(episode.states.tolist(), pa.list_(pa.float32(), 7)),
        "timestamp": pa.array((np.arange(steps) / FPS).astype(np.float32)),
        "frame_index": frame,
        "episode_index": pa.array([number] * steps),
        "index": frame,
        "task_index": pa.array([tasks.index(task) for task in episode.tasks]),
    }
    for camera, key in enumerate(stored):
        files = [{"bytes": encode(picture(number, i, camera), "png"), "path": f"{i}.png"} for i in range(steps)]
        columns[key] = pa.array(files)
    return pa.table(columns)


def _write_v2(root: Path, episodes: Any, tables: Any, tasks: list[str], cameras: Sequence[str]) -> None:
    with (root / "meta" / "tasks.jsonl").open("w") as file:
        file.writelines(json.dumps({"task_index": i, "task": task}) + "\n" for i, task in enumerate(tasks))
    lines = []
    for number, (episode, rows) in enumerate(zip(episodes, tables, strict=True)):
        chunk, name = f"chunk-{number // 2:03d}", f"episode_{number:06d}"
        lines.append({"episode_index": number, "tasks": sorted(set(episode.tasks)), "length": len(episode)})
        path = root / "data" / chunk / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, path)
        for place, camera in enumerate(cameras):
            frames = [picture(number, step, place) for step in range(len(episode))]
            write_video(root / "videos" / chunk / camera / f"{name}.mp4", frames)
    (root / "meta" / "episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def _write_v3(root: Path, episodes: Any, tables: Any, tasks: list[str], cameras: Sequence[str]) -> None:
    """Two episodes per file."""
    texts = pa.table({"task_index": list(range(len(tasks))), "__index_level_0__": tasks})
    pq.write_table(texts, root / "meta" / "tasks.parquet")
    rows = []
    first = 0
    for number, episode in enumerate(episodes):
        row = {
            "episode_index": number,
            "tasks": sorted(set(episode.tasks)),
            "length": len(episode),
            "data/chunk_index": 0,
            "data/file_index": number // 2,
            "dataset_from_index": first,
            "dataset_to_index": first + len(episode),
            "stats/action/mean": [0.0] * 7,
        }
        before = len(episodes[number - 1]) if number % 2 else 0
        for camera in cameras:
            row[f"videos/{camera}/chunk_index"] = 0
            row[f"videos/{camera}/file_index"] = number // 2
            row[f"videos/{camera}/from_timestamp"] = before / FPS
            row[f"videos/{camera}/to_timestamp"] = (before + len(episode)) / FPS
        rows.append(row)
        first += len(episode)
    folder = root / "meta" / "episodes" / "chunk-000"
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "file-000.parquet")
    for file in range((len(episodes) + 1) // 2):
        pair = range(2 * file, min(2 * file + 2, len(episodes)))
        path = root / "data" / "chunk-000" / f"file-{file:03d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.concat_tables([tables[number] for number in pair]), path, row_group_size=5)
        for place, camera in enumerate(cameras):
            frames = [picture(number, step, place) for number in pair for step in range(len(episodes[number]))]
            write_video(root / "videos" / camera / "chunk-000" / f"file-{file:03d}.mp4", frames)
