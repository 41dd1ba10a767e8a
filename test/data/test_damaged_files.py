"""Bytes changed anywhere in a recording: it is read, or it is a DataError; never anything else."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bags
import calvin_folder
import lerobot_folder
import numpy as np
import pytest

from robovlms_ros.data.bag.source import BagSource
from robovlms_ros.data.calvin import CalvinSource
from robovlms_ros.data.convert import convert
from robovlms_ros.data.errors import DataError
from robovlms_ros.data.folder.format import Origin
from robovlms_ros.data.folder.reader import open_dataset
from robovlms_ros.data.lerobot.mapping import Mapping
from robovlms_ros.data.lerobot.source import LeRobotSource

ORIGIN = Origin(importer="test", path="x")
DAMAGES = 15
COLUMNS = {"translation": [0, 1, 2], "rotation": [3, 4, 5], "rotation_format": "rpy", "gripper": 6}
MAPPING = Mapping.model_validate(
    {"cameras": {"static": "front"}, "action": {"key": "action", "kind": "delta", **COLUMNS}, "frame": "base"}
)


def write_bag(folder: Path, storage: str) -> None:
    with bags.bag(folder, storage) as writer:
        for i, row in enumerate(bags.rows(6)):
            writer.put("/camera", bags.compressed(bags.picture(i), i / 10), i / 10 + 0.02)
            writer.put("/action", bags.action(row, i / 10, sequence=i), i / 10 + 0.05)


def write_lerobot(folder: Path, version: str) -> None:
    episodes = [lerobot_folder.recorded(number, 5) for number in range(2)]
    lerobot_folder.write(folder, episodes, version=version, cameras=("front",))


def write_dataset(folder: Path) -> None:
    convert(CalvinSource(calvin_folder.write_split(folder.with_name("split"), [("a", 0, 4)])), folder, ORIGIN)


KINDS: dict[str, tuple[Callable[[Path], Any], Callable[[Path], Any]]] = {
    "mcap": (lambda folder: write_bag(folder, "mcap"), lambda folder: BagSource([folder])),
    "sqlite3": (lambda folder: write_bag(folder, "sqlite3"), lambda folder: BagSource([folder])),
    "calvin": (lambda folder: calvin_folder.write_split(folder, [("a", 0, 3), ("b", 2, 5)]), CalvinSource),
    "lerobot 2.1": (lambda folder: write_lerobot(folder, "v2.1"), lambda folder: LeRobotSource(folder, MAPPING)),
    "lerobot 3.0": (lambda folder: write_lerobot(folder, "v3.0"), lambda folder: LeRobotSource(folder, MAPPING)),
    "dataset": (write_dataset, open_dataset),
}


def damage(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(chance.choice([1, 3, 20])):
        data[chance.randrange(len(data))] = chance.randrange(256)
    if chance.random() < 0.2:
        del data[chance.randrange(len(data)) :]
    path.write_bytes(data)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_an_error_of_data_or_costs_steps(tmp_path: Path, kind: str) -> None:
    write, read = KINDS[kind]
    write(tmp_path / "whole")
    files = sorted(path for path in (tmp_path / "whole").rglob("*") if path.is_file())
    steps = []
    for seed in range(DAMAGES):
        chance = random.Random(seed)
        folder = tmp_path / f"damaged{seed}"
        shutil.copytree(tmp_path / "whole", folder)
        damage(folder / chance.choice(files).relative_to(tmp_path / "whole"), chance)
        try:
            made = convert(read(folder), tmp_path / f"made{seed}", ORIGIN)
        except DataError:
            continue
        steps.append(made.steps)
        for episode in open_dataset(tmp_path / f"made{seed}"):
            assert np.isfinite(episode.actions).all()
            assert episode.image("static", len(episode) - 1).dtype == np.uint8
    assert len(steps) < DAMAGES or len(set(steps)) > 1, "no damage was noticed at all"
