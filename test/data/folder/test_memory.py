"""Reading a dataset takes memory that does not grow with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robovlms_ros.data.folder.batches import StoredEpisode
from robovlms_ros.data.folder.format import DatasetInfo, ImageFormat, Origin
from robovlms_ros.data.folder.writer import DatasetWriter

MEGABYTE = 2**20
PROGRAM = """
import sys
from pathlib import Path
from robovlms_ros.data.folder.reader import FolderSource

def mapped():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssFile"))

source = FolderSource(Path(sys.argv[1]), resident_bytes=int(sys.argv[2]))
episodes = [source[index] for index in range(len(source))]
for episode in episodes:
    episode.actions.sum()
before = largest = mapped()
read = 0
for episode in episodes:
    for step in range(len(episode)):
        read += len(episode.encoded("static", step))
        largest = max(largest, mapped())
print(read, largest - before)
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 MB of images in three shards."""
    folder = tmp_path_factory.mktemp("memory") / "set"
    info = DatasetInfo(
        name="large",
        cameras=("static",),
        rotation_format="rpy",
        frame="base",
        step_duration=0.1,
        images=ImageFormat(),
        origin=Origin(importer="test", path=""),
    )
    image = np.random.default_rng(0).bytes(MEGABYTE // 4)
    with DatasetWriter(folder, info, shard_bytes=16 * MEGABYTE) as writer:
        for number in range(12):
            episode = StoredEpisode(str(number), "go", 0.1, np.zeros((16, 7)), {"static": [image] * 16})
            writer.add(number, episode)
        writer.finish()
    return folder


def megabytes(dataset: Path, resident_bytes: int) -> float:
    """Mapped memory that reading everything adds."""
    command = [sys.executable, "-c", PROGRAM, str(dataset), str(resident_bytes)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=100)
    read, grown = done.stdout.split()
    assert int(read) == 48 * MEGABYTE
    return float(grown)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_pages_that_were_read_are_given_back(dataset: Path) -> None:
    assert megabytes(dataset, resident_bytes=4 * MEGABYTE) < 12
    # So that the figure above means something: without it the whole dataset is held.
    assert megabytes(dataset, resident_bytes=2**40) > 40
