"""A checkpoint of a run as what `robovlms_ros.policy.packing` takes: a configuration and one plain checkpoint."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.lora import merge_lora
from robovlms_ros.model.safetensors_files import find_safetensors
from robovlms_ros.policy.packing import Source
from robovlms_ros.train.run_folder import RunFolder
from robovlms_ros.train.state import frozen_weights, trained_weights, write_tensors


def trained_model(run: Path, checkpoint: str = "best") -> BaseRoboVLM:
    """The model of ``best``, ``last`` or a number of steps, on the CPU, adapters merged. Raises `ModelError`."""
    folder = RunFolder.open(run)
    model = folder.load_model(folder.checkpoints().find(checkpoint))
    if model.config.train_setup.lora_enable:
        merge_lora(model.backbone)
    return model.requires_grad_(False).eval()


@contextmanager
def exported(run: Path, checkpoint: str, scratch: Path) -> Iterator[Source]:
    """The model as files below ``scratch``, which has room for it; they are gone afterwards."""
    model = trained_model(run, checkpoint)
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export_", dir=scratch) as folder:
        write_tensors(frozen_weights(model) | trained_weights(model), Path(folder), "model")
        written = find_safetensors(Path(folder), "model")
        assert written is not None  # just written
        yield Source(RunFolder.open(run).model_config, written)
