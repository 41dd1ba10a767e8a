"""Checkpoints appear whole or not at all, and the right ones stay."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from robovlms_ros.train.checkpoints import CheckpointError, CheckpointStore, Retention


def content(folder: Path) -> None:
    (folder / "weights").write_bytes(b"abc")


def steps(store: CheckpointStore) -> list[int]:
    return [checkpoint.step for checkpoint in store.all()]


def test_the_last_ones_and_the_best_one_stay(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "c", Retention(last=2, best=1, metric="val_loss"))
    for step, loss in ((1, 0.5), (2, 0.1), (3, 0.4), (4, 0.3), (5, 0.2)):
        store.save(step, {"val_loss": loss}, content)
    assert steps(store) == [2, 4, 5]
    assert store.find("best").step == 2
    assert store.find("last").step == 5
    assert store.find("4").metrics == {"val_loss": 0.3}
    with pytest.raises(CheckpointError, match=r"no checkpoint '3'; it has 2, 4, 5"):
        store.find("3")


def test_the_largest_is_the_best_where_it_is_to_be() -> None:
    from robovlms_ros.train.checkpoints import Checkpoint

    values = [0.5, float("nan"), 0.9, 0.9]
    made = [Checkpoint(Path(str(n)), n, {"acc": value}) for n, value in enumerate(values)]
    ranked = Retention(metric="acc", mode="max").ranked(made)
    assert [checkpoint.step for checkpoint in ranked] == [2, 3, 0, 1]


def test_without_its_metric_the_best_is_the_last(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, Retention(last=3))
    for step in (1, 2):
        store.save(step, {}, content)
    assert store.find("best").step == 2


def test_a_failed_save_leaves_nothing_and_the_others_whole(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(1, {}, content)

    def fail(folder: Path) -> None:
        content(folder)
        raise OSError(28, "No space left on device")

    with pytest.raises(CheckpointError, match=r"No space left on device; earlier ones are whole"):
        store.save(2, {}, fail)
    assert steps(store) == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_leftovers_and_damaged_folders_are_no_checkpoints(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(1, {}, content)
    for name in (".step-00000002", ".step-00000000.old"):
        (tmp_path / name).mkdir()
        content(tmp_path / name)
    (tmp_path / "step-00000003").mkdir()
    (tmp_path / "step-00000004").mkdir()
    (tmp_path / "step-00000004" / "state.json").write_text('{"step": "x"}')
    assert steps(store) == [1]
    store.prune()
    assert {path.name for path in tmp_path.iterdir()} == {"step-00000001", "step-00000003", "step-00000004"}


def test_a_step_may_be_saved_again(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(1, {"val_loss": 2.0}, content)
    store.save(1, {"val_loss": 1.0}, content)
    assert store.find("1").metrics == {"val_loss": 1.0}


SAVES_WITHOUT_ROOM = """
import json, resource, signal, sys
from pathlib import Path
import torch
from robovlms_ros.train.checkpoints import CheckpointError, CheckpointStore
from robovlms_ros.train.state import write_tensors
store = CheckpointStore(Path(sys.argv[1]))
store.save(1, {}, lambda folder: write_tensors({"a": torch.ones(10)}, folder, "trained"))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    store.save(2, {}, lambda folder: write_tensors({"a": torch.ones(1_000_000)}, folder, "trained"))
except CheckpointError as error:
    print(json.dumps(str(error)))
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs limits on file sizes")
def test_a_file_that_cannot_be_written_to_its_end_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    """As with a full disk: the operating system refuses the bytes."""
    command = [sys.executable, "-c", SAVES_WITHOUT_ROOM, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    assert "cannot be written" in json.loads(done.stdout)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
