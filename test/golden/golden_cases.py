"""Access to the test vectors in this folder: values that upstream computed (see docs in the tests that use them).

Weights are stored once, as int8 tensors that several cases share; `state_dict` rebuilds those of one case.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(__file__).parent


@cache
def _manifest() -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((FOLDER / "weights_manifest.json").read_text())
    return manifest


@cache
def arrays(name: str) -> Mapping[str, np.ndarray]:
    """The arrays of ``NAME.npz``."""
    with np.load(FOLDER / f"{name}.npz") as file:
        return dict(file)


def config_path(case: str) -> Path:
    return FOLDER / f"{case}.config.json"


def state_dict(case: str) -> dict[str, Tensor]:
    """The weights of a case with upstream's keys (prefix ``model.``)."""
    entries, pool = _manifest()["cases"][case], arrays("weights_pool")
    tensors: dict[str, Tensor] = {}
    for key, entry in entries.items():
        if entry["kind"] == "int8":
            stored = pool[f"t{_manifest()['pool_index'][entry['pool']]:04d}"].astype(np.float32)
            tensors[key] = torch.from_numpy(
                stored * np.float32(2.0 ** entry["exp2"]) + np.float32(entry["offset"])
            )
        elif entry["kind"] == "const":
            tensors[key] = torch.full(entry["shape"], entry["value"])
        elif entry["kind"] == "buffer":
            tensors[key] = torch.ones(entry["shape"], dtype=torch.uint8).tril()
    return tensors | {key: tensors[entry["to"]] for key, entry in entries.items() if entry["kind"] == "tied"}


def images(name: str) -> Tensor:
    """Preprocessed input images, for example ``rgb_q`` ``(7, 3, 28, 28)``."""
    return torch.from_numpy(arrays("inputs")[name].astype(np.float32) / 4)
