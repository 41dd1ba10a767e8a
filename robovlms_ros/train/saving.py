"""Writes and reads the checkpoints of a run that may be spread over processes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from robovlms_ros.train.checkpoints import Checkpoint, CheckpointError, CheckpointStore
from robovlms_ros.train.engine import is_sharded
from robovlms_ros.train.reporting import Reporter
from robovlms_ros.train.state import (
    OPTIMIZER,
    TRAINED,
    optimizer_tensors,
    read_tensors,
    restore_optimizer,
    restore_weights,
    trained_weights,
    write_tensors,
)

# Where accelerate puts the pieces of a network that is sharded.
_SHARDS = "shards"


class Saver:
    """Checkpoints of the network and the optimiser that accelerate has prepared.

    One whole copy is written by the main process. Of a sharded network every process writes its piece of the
    optimiser's state too, in accelerate's format.
    """

    def __init__(
        self, accelerator: Any, network: nn.Module, optimizer: Any, store: CheckpointStore, reporter: Reporter
    ) -> None:
        self._accelerator = accelerator
        self._network, self._optimizer = network, optimizer
        self._plain: nn.Module = accelerator.unwrap_model(network)
        self._names = [name for name, weight in self._plain.named_parameters() if weight.requires_grad]
        self._store = store
        self._reporter = reporter

    def save(self, step: int, metrics: Mapping[str, float], last: bool) -> None:
        """Called in every process. A checkpoint that fails is reported; the last one raises `CheckpointError`."""
        weights = self._whole_weights()
        if is_sharded(self._accelerator):
            # Every process writes into the folder that the main one then gives its name.
            shards = self._store.folder / f"{_SHARDS}-{step:08d}"
            self._accelerator.save_state(str(shards), safe_serialization=True)
            self._accelerator.wait_for_everyone()
        else:
            shards = None
        if self._accelerator.is_main_process:
            try:
                self._store.save(step, metrics, lambda folder: self._write(folder, weights, shards))
            except CheckpointError as error:
                if last:
                    raise
                self._reporter.say(f"warning: {error}; training goes on")
        self._accelerator.wait_for_everyone()

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take over weights and optimiser state. Raises `WeightsError` where they are of another network."""
        if is_sharded(self._accelerator):
            self._accelerator.load_state(str(checkpoint.folder / _SHARDS))
            return
        restore_weights(self._plain, read_tensors(checkpoint.folder, TRAINED), str(checkpoint.folder))
        restore_optimizer(self._adamw(), self._names, read_tensors(checkpoint.folder, OPTIMIZER))

    def _write(self, folder: Path, weights: Mapping[str, Tensor], shards: Path | None) -> None:
        write_tensors(weights, folder, TRAINED)
        if shards is None:
            write_tensors(optimizer_tensors(self._adamw(), self._names), folder, OPTIMIZER)
        else:
            shards.rename(folder / _SHARDS)

    def _whole_weights(self) -> dict[str, Tensor]:
        if not is_sharded(self._accelerator):
            return trained_weights(self._plain)
        everything = self._accelerator.get_state_dict(self._network)
        return {name: everything[name] for name in self._names} if self._accelerator.is_main_process else {}

    def _adamw(self) -> Any:
        return getattr(self._optimizer, "optimizer", self._optimizer)
