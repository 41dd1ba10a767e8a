"""An auxiliary head that asks the features for what no robot is told: where a block is, whether a door is open.

They lie beside a dataset, a row for each step, in a file like the ``privileged.npz`` of ``robovlms sim record``:
``identifiers`` ``(E,)`` of the episodes, ``starts`` ``(E + 1,)`` of their rows, and arrays ``(rows, n)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.train.auxiliary import AuxiliaryHead
from robovlms_ros.train.batch import Batch

Array = NDArray[Any]

HIDDEN_SIZE = 256


class PrivilegedPrediction(AuxiliaryHead):
    """Mean squared error of numbers that lie beside the dataset, over those that are not NaN.

    Options: ``files``, the ``.npz`` files of all datasets that are trained or validated on; ``scales``, for each
    array to be predicted a number per column, by which it is divided so that errors are comparable.
    """

    def __init__(self, in_features: int, rows: _Rows) -> None:
        super().__init__()
        # In a tuple it is no part of the state_dict.
        self._rows = (rows,)
        self.numbers = nn.Sequential(
            nn.Linear(in_features, HIDDEN_SIZE), nn.ReLU(), nn.Linear(HIDDEN_SIZE, rows.width)
        )

    @classmethod
    def build(cls, model: BaseRoboVLM, **options: Any) -> PrivilegedPrediction:
        """See `AuxiliaryHead.build`."""
        files, scales = options.pop("files", None), options.pop("scales", None)
        if options or not files or not isinstance(scales, Mapping) or not scales:
            raise ConfigError(
                "auxiliary head 'privileged' takes the options files (a list of .npz files) and scales (for each "
                f"array of them a number per column){f', and no {sorted(options)}' if options else ''}"
            )
        paths = [files] if isinstance(files, str) else files
        return cls(model.hidden_size, _Rows([Path(path).expanduser() for path in paths], scales))

    def forward(self, features: Tensor, batch: Batch) -> Tensor:
        """See `AuxiliaryHead.forward`; the tokens of a step are pooled by their maximum."""
        predicted = self.numbers(features.amax(dim=-2)).float()
        steps = batch.steps[:, -features.shape[1] :].cpu().numpy()
        wanted = np.stack(
            [self._rows[0].read(name, at) for name, at in zip(batch.identifiers, steps, strict=True)]
        )
        targets = torch.from_numpy(wanted).to(predicted.device)
        known = ~targets.isnan()
        # A batch in which nothing is known has no such loss, but the same graph.
        errors = functional.mse_loss(predicted, torch.where(known, targets, predicted.detach()), reduction="none")
        return errors.sum() / known.sum().clamp(min=1)


class _Rows:
    """The scaled numbers of every step of every episode."""

    def __init__(self, files: Sequence[Path], scales: Mapping[str, Sequence[float]]) -> None:
        self._starts: dict[str, int] = {}
        parts: list[Array] = []
        rows = 0
        for file in files:
            identifiers, starts, numbers = _read(file, scales)
            self._starts |= {name: rows + int(start) for name, start in zip(identifiers, starts, strict=False)}
            parts.append(numbers)
            rows += len(numbers)
        self._numbers = np.concatenate(parts)
        self.width = self._numbers.shape[1]

    def read(self, identifier: str, steps: Array) -> Array:
        """The rows ``steps`` of an episode. Raises `ConfigError` where no file has it."""
        # A training run puts the name of the dataset before it.
        start = self._starts.get(identifier.rpartition("/")[2])
        if start is None:
            raise ConfigError(
                f"auxiliary head 'privileged': no file has episode {identifier}; add its dataset's to files"
            )
        rows: Array = self._numbers[start + steps]
        return rows


def _read(file: Path, scales: Mapping[str, Sequence[float]]) -> tuple[list[str], Array, Array]:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            missing = [name for name in ("identifiers", "starts", *scales) if name not in arrays]
            if missing:
                raise ConfigError(f"{file} has no {', '.join(missing)}; it has {', '.join(arrays.files)}")
            columns = [_scaled(file, name, arrays[name], scale) for name, scale in scales.items()]
            identifiers = [str(name) for name in arrays["identifiers"]]
            starts = np.asarray(arrays["starts"], np.int64)
    except (OSError, ValueError) as error:
        raise ConfigError(f"auxiliary head 'privileged': {file} cannot be read: {error}") from error
    numbers = np.concatenate(columns, axis=1, dtype=np.float32)
    if len(starts) != len(identifiers) + 1 or starts[-1] != len(numbers):
        raise ConfigError(f"auxiliary head 'privileged': {file} is damaged; its starts do not fit its rows")
    return identifiers, starts, numbers


def _scaled(file: Path, name: str, rows: Array, scale: Sequence[float]) -> Array:
    if rows.ndim != 2 or rows.shape[1] != len(scale) or not all(number > 0 for number in scale):
        raise ConfigError(
            f"auxiliary head 'privileged': {name} of {file} has the shape {list(rows.shape)}; scales must name a "
            f"positive number for each of its columns, got {list(scale)}"
        )
    scaled: Array = rows / np.asarray(scale)
    return scaled
