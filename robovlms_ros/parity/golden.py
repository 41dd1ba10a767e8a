"""The folder of test vectors: values that upstream computed, and the weights that it computed them with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robovlms_ros.model.errors import ModelError


class GoldenFolder:
    """Access to ``test/golden``. Weights are stored once, as int8 tensors that several cases share."""

    def __init__(self, path: Path) -> None:
        if not (path / "weights_manifest.json").is_file():
            raise ModelError(
                f"{path} holds no test vectors (no weights_manifest.json); give the folder test/golden"
            )
        self.path = path
        self.arrays = lru_cache(None)(self._arrays)

    @cached_property
    def _manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = json.loads((self.path / "weights_manifest.json").read_text(encoding="utf-8"))
        return manifest

    @property
    def models(self) -> list[str]:
        """Names of the model cases, sorted."""
        return sorted(self._manifest["cases"])

    @property
    def wrappers(self) -> list[str]:
        """Names of the control-step wrappers' cases, sorted."""
        return sorted({name.split("__")[0] for name in self.arrays("wrappers") if "__" in name})

    def _arrays(self, name: str) -> Mapping[str, NDArray[Any]]:
        with np.load(self.path / f"{name}.npz") as file:
            return dict(file)

    def json(self, name: str) -> Any:
        """The content of ``NAME.json``."""
        return json.loads((self.path / f"{name}.json").read_text(encoding="utf-8"))

    def config_path(self, case: str) -> Path:
        """The configuration of a model case."""
        return self.path / f"{case}.config.json"

    def images(self, name: str) -> Tensor:
        """Preprocessed input images, for example ``rgb_q`` ``(7, 3, 28, 28)``."""
        return torch.from_numpy(self.arrays("inputs")[name].astype(np.float32) / 4)

    def state_dict(self, case: str) -> dict[str, Tensor]:
        """The weights of a model case with upstream's keys (prefix ``model.``)."""
        entries, pool = self._manifest["cases"][case], self.arrays("weights_pool")
        tensors: dict[str, Tensor] = {}
        for key, entry in entries.items():
            if entry["kind"] == "int8":
                stored = pool[f"t{self._manifest['pool_index'][entry['pool']]:04d}"].astype(np.float32)
                scaled = stored * np.float32(2.0 ** entry["exp2"]) + np.float32(entry["offset"])
                tensors[key] = torch.from_numpy(scaled)
            elif entry["kind"] == "const":
                tensors[key] = torch.full(entry["shape"], entry["value"])
            elif entry["kind"] == "buffer":
                tensors[key] = torch.ones(entry["shape"], dtype=torch.uint8).tril()
        tied = {key: entry["to"] for key, entry in entries.items() if entry["kind"] == "tied"}
        return tensors | {key: tensors[original] for key, original in tied.items()}
