"""Low-rank adapters (Hu et al. 2021) on a frozen backbone, through ``peft`` (installed by the extra ``train``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from robovlms_ros.model.config import TrainSetup
from robovlms_ros.model.errors import ConfigError


def add_lora(backbone: nn.Module, layers: Sequence[nn.Module], setup: TrainSetup) -> None:
    """Put adapters beside these linear layers of ``backbone``, in place, and freeze the rest of it.

    The adapters start as zero: the model's answers do not change. Raises `ConfigError` without ``peft``.
    """
    peft = _peft()
    chosen = {id(layer) for layer in layers}
    targets = [name for name, module in backbone.named_modules() if id(module) in chosen]
    settings = peft.LoraConfig(
        r=setup.lora_r,
        lora_alpha=setup.lora_alpha,
        lora_dropout=setup.lora_dropout,
        bias=setup.lora_bias,
        target_modules=targets,
    )
    peft.inject_adapter_in_model(settings, backbone)


def merge_lora(backbone: nn.Module) -> None:
    """Add the adapters to the weights beside which they are, in place: the plain model, to save and to pack."""
    _peft()
    from peft.tuners.lora import LoraLayer

    adapted = [(name, module) for name, module in backbone.named_modules() if isinstance(module, LoraLayer)]
    for name, module in adapted:
        layer: Any = module
        layer.merge(safe_merge=True)
        parent, _, own = name.rpartition(".")
        setattr(backbone.get_submodule(parent), own, layer.get_base_layer())


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise ConfigError(
            "train_setup.lora_enable needs the package peft: pip install 'robovlms_ros[train]', or set it to false"
        ) from error
    return peft
