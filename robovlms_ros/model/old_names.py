"""Checkpoints from before transformers 5 renamed the parts of some backbones."""

from __future__ import annotations

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.checkpoint import Tensors


def translate_old_names(backbone: type[BaseRoboVLM], tensors: Tensors) -> Tensors:
    """``tensors`` under the names that ``backbone`` has now, unchanged where they have these already.

    Old names also tell that upstream trained the weights. Where it held the backbone in a smaller type while
    loading (``old_dtype``), the values are rounded to that, as upstream's own results were.
    """
    prefixes = {f"backbone.{old}": f"backbone.{new}" for old, new in backbone.old_names.items()}
    if not any(name.startswith(tuple(prefixes)) for name in tensors):
        return tensors
    translated: Tensors = {}
    for name, tensor in tensors.items():
        old = next((prefix for prefix in prefixes if name.startswith(prefix)), None)
        if old is not None and backbone.old_dtype is not None:
            tensor = tensor.to(backbone.old_dtype).to(tensor.dtype)
        translated[name if old is None else prefixes[old] + name.removeprefix(old)] = tensor
    return translated
