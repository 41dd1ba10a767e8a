"""How fast, and in how much memory, shuffled windows are read from a dataset folder.

    python bench/dataset_reading.py                                # 4,000 steps of two cameras; a few minutes
    python bench/dataset_reading.py --steps 100000 --only 224x224  # what must fit; 7 GB of disk, 15 minutes

Frames are cuts from a photograph. They are written as a dataset of 640x480, as one of 224x224 (``--resize 224``
of the importers), and, for comparison, as a folder of JPEG files of 224x224, one per frame, which is read with
nothing but Pillow: what decoding alone costs. A window is 8 steps of both cameras with their actions, images
decoded and scaled to 224x224; windows are read in random order, each frame once. Each row is a process of its own.
"""

# ruff: noqa: T201  a benchmark prints

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.data.folder.batches import StoredEpisode
from robovlms_ros.data.folder.format import DatasetInfo, ImageFormat, Origin
from robovlms_ros.data.folder.reader import open_dataset
from robovlms_ros.data.folder.writer import DatasetWriter
from robovlms_ros.data.images import encode, resize

WINDOW, EPISODE = 8, 64
SIZES = {"640x480": (480, 640), "224x224": (224, 224)}
CAMERAS = ("static", "hand")
FILES = "JPEG files of 224x224, Pillow alone"
# Different cuts of the photograph; frames repeat them, their bytes on disk are their own.
CUTS = 200


def cuts(size: tuple[int, int]) -> list[bytes]:
    """JPEG files of ``size``."""
    from robovlms_ros.replay.footage import load_footage

    photograph = load_footage().frames[0]
    random = np.random.default_rng(0)
    height, width = photograph.shape[0] - 80, photograph.shape[1] - 80
    files = []
    for _ in range(CUTS):
        top, left = random.integers(0, 80, 2)
        cut = np.ascontiguousarray(photograph[top : top + height, left : left + width])
        files.append(encode(_scaled(cut, size), "jpeg"))
    return files


def _scaled(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).resize(size[::-1]))


def write_dataset(folder: Path, steps: int, size: tuple[int, int]) -> None:
    """A dataset of ``steps`` steps of both cameras."""
    files = cuts(size)
    info = DatasetInfo(
        name="bench",
        cameras=CAMERAS,
        rotation_format="rpy",
        frame="base",
        step_duration=0.1,
        images=ImageFormat(),
        origin=Origin(importer="bench", path=""),
    )
    random = np.random.default_rng(0)
    with DatasetWriter(folder, info) as writer:
        for number in range(steps // EPISODE):
            chosen = random.integers(0, len(files), (len(CAMERAS), EPISODE))
            images = {
                camera: [files[i] for i in row] for camera, row in zip(CAMERAS, chosen.tolist(), strict=True)
            }
            writer.add(number, StoredEpisode(str(number), "go", 0.1, random.uniform(0, 1, (EPISODE, 7)), images))
        writer.finish()


def write_files(folder: Path, frames: int) -> None:
    """The same frames as files."""
    files = cuts(SIZES["224x224"])
    random = np.random.default_rng(0)
    for camera in CAMERAS:
        (folder / camera).mkdir(parents=True)
        for number, i in enumerate(random.integers(0, len(files), frames).tolist()):
            (folder / camera / f"{number:06d}.jpg").write_bytes(files[i])


def dataset_windows(folder: Path) -> Iterator[int]:
    """Read every window once, in random order; yields the frames of each, counted per camera."""
    source = open_dataset(folder)
    episodes = [source[index] for index in range(len(source))]
    starts = [(e, s) for e, episode in enumerate(episodes) for s in range(0, len(episode) - WINDOW + 1, WINDOW)]
    for place in np.random.default_rng(1).permutation(len(starts)).tolist():
        number, start = starts[place]
        episode = episodes[number]
        window = [
            resize(episode.image(camera, step), 224) for camera in CAMERAS for step in range(start, start + WINDOW)
        ]
        assert np.stack(window).shape == (len(CAMERAS) * WINDOW, 224, 224, 3)
        assert episode.actions[start : start + WINDOW].shape == (WINDOW, 7)
        yield len(window)


def file_windows(folder: Path) -> Iterator[int]:
    """The same from files, with Pillow alone."""
    from PIL import Image

    names = [sorted((folder / camera).iterdir()) for camera in CAMERAS]
    starts = range(0, len(names[0]) - WINDOW + 1, WINDOW)
    for place in np.random.default_rng(1).permutation(len(starts)).tolist():
        start = starts[place]
        paths = [path for camera in names for path in camera[start : start + WINDOW]]
        window = [np.array(Image.open(path).convert("RGB")) for path in paths]
        assert np.stack(window).shape == (len(CAMERAS) * WINDOW, 224, 224, 3)
        yield len(window)


def measure(read: Callable[[], Iterator[int]]) -> dict[str, float]:
    """Images per second, processor time of each, and the process's largest resident set (``VmHWM``) in GB."""
    started, worked, images = time.perf_counter(), time.process_time(), 0
    for count in read():
        images += count
    seconds, worked = time.perf_counter() - started, time.process_time() - worked
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    peak = next((int(line.split()[1]) / 1e6 for line in lines if line.startswith("VmHWM")), float("nan"))
    return {
        "images": images,
        "per_second": images / seconds,
        "cpu_ms": 1000 * worked / images,
        "peak_gb": peak,
    }


ROWS: dict[str, Callable[[Path], Iterator[int]]] = {
    "dataset of 640x480": lambda folder: dataset_windows(folder / "640x480"),
    "dataset of 224x224": lambda folder: dataset_windows(folder / "224x224"),
    FILES: lambda folder: file_windows(folder / "files"),
}


def main(arguments: list[str] | None = None) -> int:
    """Write, read, print a table; 1 where 2 GB were not enough."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--only", choices=SIZES, help="one of the datasets")
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder without it")
    parser.add_argument("--row", choices=ROWS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.row:
        print(json.dumps(measure(lambda: ROWS[options.row](options.folder))))
        return 0
    folder = Path(tempfile.mkdtemp(prefix="robovlms_data_", dir=options.folder))
    try:
        sizes = {name: size for name, size in SIZES.items() if options.only in (None, name)}
        for name, size in sizes.items():
            write_dataset(folder / name, options.steps, size)
        rows = {f"dataset of {name}": name for name in sizes}
        if options.only is None:
            write_files(folder / "files", options.steps // EPISODE * EPISODE)
            rows[FILES] = "files"
        print("| | images | size, GB | images/s | CPU ms/image | peak RSS, GB |\n|---|---|---|---|---|---|")
        enough = True
        for row, part in rows.items():
            size_gb = sum(path.stat().st_size for path in (folder / part).rglob("*") if path.is_file()) / 1e9
            command = [sys.executable, __file__, "--row", row, "--folder", str(folder)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            print(
                f"| {row} | {found['images']:,} | {size_gb:.2f} | {found['per_second']:.0f} | "
                f"{found['cpu_ms']:.2f} | {found['peak_gb']:.2f} |",
                flush=True,
            )
            enough = enough and not found["peak_gb"] > 2
    finally:
        shutil.rmtree(folder)
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main())
