"""Writes a split in CALVIN's folder format for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def frame(number: int) -> dict[str, np.ndarray]:
    """All that is in a frame's file and concerns us, and something that does not."""
    random = np.random.default_rng(number)
    action = random.uniform(-1, 1, 7)
    action[6] = random.choice([-1.0, 1.0])
    state = random.uniform(-1, 1, 15)
    state[6] = random.uniform(0, 0.08)
    return {
        "rel_actions": action,
        "actions": random.uniform(-1, 1, 7),
        "robot_obs": state,
        "scene_obs": random.uniform(-1, 1, 24),
        "rgb_static": random.integers(0, 256, (20, 20, 3), dtype=np.uint8),
        "rgb_gripper": random.integers(0, 256, (8, 8, 3), dtype=np.uint8),
        "depth_static": random.uniform(0, 5, (20, 20)).astype(np.float32),
    }


def frame_path(folder: Path, number: int) -> Path:
    return folder / f"episode_{number:07d}.npz"


def write_split(
    folder: Path,
    segments: Sequence[tuple[str, int, int]],
    *,
    annotations: str = "lang_annotations",
    protocol_numbers: bool = False,
    compressed: bool = True,
) -> Path:
    """Frames from the first to beyond the last of ``segments`` (instruction, first, last)."""
    folder.mkdir(parents=True)
    write = np.savez_compressed if compressed else np.savez
    for number in range(min(s[1] for s in segments), max(s[2] for s in segments) + 1):
        write(frame_path(folder, number), **frame(number))  # type: ignore[arg-type]
    number_type = np.int64 if protocol_numbers else int
    content: dict[str, Any] = {
        "language": {
            "ann": [text for text, _, _ in segments],
            "task": ["a_task"] * len(segments),
            "emb": np.zeros((len(segments), 1, 4), np.float32),
        },
        "info": {
            "indx": [(number_type(start), number_type(end)) for _, start, end in segments],
            "episodes": [],
        },
    }
    (folder / annotations).mkdir()
    np.save(folder / annotations / "auto_lang_ann.npy", content)  # type: ignore[arg-type]
    return folder
