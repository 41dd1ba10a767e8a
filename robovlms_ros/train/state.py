"""The state of a run as tensors: trained weights, the optimiser's numbers, and once the weights that never change.

Everything is safetensors; nothing is pickled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robovlms_ros.model.errors import WeightsError
from robovlms_ros.model.safetensors_files import find_safetensors, read_safetensors, write_safetensors

TRAINED, FROZEN, OPTIMIZER = "trained", "frozen", "optimizer"


def trained_weights(network: nn.Module) -> dict[str, Tensor]:
    """The weights that are trained, by name; shared ones once."""
    return {name: weight.detach() for name, weight in network.named_parameters() if weight.requires_grad}


def frozen_weights(network: nn.Module) -> dict[str, Tensor]:
    """The rest of the state: frozen weights and stored tables; shared ones once."""
    parameters = {name: weight.detach() for name, weight in network.named_parameters() if not weight.requires_grad}
    every = {name for name, _ in network.named_parameters(remove_duplicate=False)}
    return parameters | {name: table for name, table in network.state_dict().items() if name not in every}


def write_tensors(tensors: Mapping[str, Tensor], folder: Path, name: str) -> None:
    """Write ``NAME.safetensors``, in parts where it is large; see `write_safetensors`."""
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    write_safetensors(((key, tensors[key].detach().cpu()) for key in sorted(tensors)), size, folder, name)


def read_tensors(folder: Path, name: str) -> dict[str, Tensor]:
    """What `write_tensors` wrote, mapped. Raises `WeightsError` where it is not there or damaged."""
    path = find_safetensors(folder, name)
    if path is None:
        raise WeightsError(f"{folder} has no {name}.safetensors; it is no complete training run or checkpoint")
    return read_safetensors(path)


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: Iterable[str]) -> dict[str, Tensor]:
    """What AdamW keeps, as ``WEIGHT|KEY``; ``names`` are those of its weights, in its order.

    Learning rate and weight decay are not among it: they follow from the configuration and the step.
    """
    state = optimizer.state_dict()["state"]
    return {
        f"{name}|{key}": torch.as_tensor(value)
        for number, name in enumerate(names)
        for key, value in state.get(number, {}).items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, names: Iterable[str], tensors: Mapping[str, Tensor]
) -> None:
    """The inverse of `optimizer_tensors`, on an optimiser of the same weights. Raises `WeightsError`."""
    numbers = {name: number for number, name in enumerate(names)}
    state: dict[int, dict[str, Tensor]] = {}
    for stored, tensor in tensors.items():
        name, _, key = stored.rpartition("|")
        if name not in numbers:
            raise WeightsError(
                f"the optimiser's state is of another network: {name} is not trained now; go on with the "
                "configuration that the run was begun with"
            )
        state.setdefault(numbers[name], {})[key] = tensor.clone()
    content: dict[str, Any] = optimizer.state_dict() | {"state": state}
    optimizer.load_state_dict(content)


@torch.no_grad()
def restore_weights(network: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copy ``tensors`` into the trained weights of ``network``. Raises `WeightsError` where these are others."""
    weights = dict(network.named_parameters())
    trained = {name for name, weight in weights.items() if weight.requires_grad}
    if trained != tensors.keys() or any(weights[name].shape != tensors[name].shape for name in trained):
        other = sorted(trained ^ tensors.keys())
        raise WeightsError(
            f"{source} holds other weights than are trained now ({', '.join(other[:3]) or 'of other shapes'}); go "
            "on with the configuration that the run was begun with"
        )
    for name, tensor in tensors.items():
        weights[name].copy_(tensor)
