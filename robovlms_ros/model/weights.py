"""Puts the tensors of a checkpoint into a model that was built on the meta device."""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.checkpoint import Tensors, listing, refuse_non_finite
from robovlms_ros.model.errors import WeightsError
from robovlms_ros.model.old_names import translate_old_names
from robovlms_ros.model.safetensors_files import cast

# Part of some checkpoints, of no use for control: training-only modules, and tables that are computed (the last
# two are GPT-2's causal mask).
_IGNORED = re.compile(
    r"^clip_norm_head\.|\.position_ids$|\.embed_positions\.weights$|^act_head\.gpt\.h\.\d+\.attn\.(masked_)?bias$"
)
# A second name under which upstream registers the backbone, with LoRA or for Flamingo.
_SECOND_NAME = re.compile(r"^model\.(base_model\.model\.)?")


def assign_weights(model: BaseRoboVLM, tensors: Tensors, dtype: torch.dtype, source: str) -> Tensors:
    """Make the model hold exactly ``tensors``, in ``dtype``; mapped tensors of that type are not copied.

    Returns the tensors used as they were stored, see `fit_weights`, which also says what is refused; so are
    tensors that are not finite, here in ``dtype``. A refused checkpoint leaves the model as it was.
    """
    used = fit_weights(model, tensors, source)
    converted = {name: cast(tensor, dtype) for name, tensor in used.items()}
    refuse_non_finite(converted, source)
    model.load_state_dict(converted, strict=False, assign=True)
    model.backbone.tie_weights()
    for module in model.modules():
        _cast_tables(module, dtype)
    return used


def fit_weights(model: BaseRoboVLM, tensors: Tensors, source: str) -> Tensors:
    """The tensors that ``model`` holds, by its own names and tied ones once; values are not looked at.

    Raises `WeightsError` with the names where a tensor is missing, left over or of another shape than the
    configuration says, and where the checkpoint belongs to another backbone.
    """
    expected = model.state_dict()
    tensors = translate_old_names(type(model), _without_second_names(tensors))
    used = {name: tensor for name, tensor in tensors.items() if not _IGNORED.search(name)}
    for alias, name in _tied_names(model):
        _drop_alias(used, alias, name, source)
        del expected[alias]
    _compare(model, used, expected, source)
    return used


def _without_second_names(tensors: Tensors) -> Tensors:
    return {
        name: tensor
        for name, tensor in tensors.items()
        if not (_SECOND_NAME.match(name) and _SECOND_NAME.sub("backbone.", name) in tensors)
    }


def _tied_names(model: nn.Module) -> Iterator[tuple[str, str]]:
    """Second names of shared parameters, each with the first one."""
    first: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        original = first.setdefault(id(parameter), name)
        if original != name:
            yield name, original


def _drop_alias(tensors: Tensors, alias: str, name: str, source: str) -> None:
    copy = tensors.pop(alias, None)
    if copy is None:
        return
    original = tensors.setdefault(name, copy)
    if copy.data_ptr() != original.data_ptr() and not torch.equal(copy, original):
        raise WeightsError(
            f"{source}: {alias} and {name} differ, but the backbone's config.json ties them; "
            "set tie_word_embeddings there to what the model was trained with"
        )


def _compare(model: BaseRoboVLM, tensors: Tensors, expected: dict[str, Tensor], source: str) -> None:
    name = type(model).__name__
    missing, extra = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
    _refuse_other_parts(name, tensors, expected, source)
    if any(key.startswith("act_encoder.") for key in missing):
        raise WeightsError(
            f"{source} has no action encoder, but the configuration asks for one; give a checkpoint trained with "
            "it, or set 'act_encoder' to null to run without action history"
        )
    problems = []
    if missing:
        problems.append(f"missing: {listing(missing)}")
    if extra:
        problems.append(f"left over: {listing(extra)}")
    problems += [
        f"{key} is {list(tensors[key].shape)}, the configuration makes it {list(tensor.shape)}"
        for key, tensor in expected.items()
        if key in tensors and tensors[key].shape != tensor.shape
    ]
    if problems:
        shown, more = problems[:10], len(problems) - 10
        raise WeightsError(
            f"{source} does not fit {name}: {'; '.join(shown)}{f'; and {more} more' if more > 0 else ''}. "
            "Use the configuration and the backbone folder that this checkpoint was trained with"
        )


def _refuse_other_parts(name: str, tensors: Tensors, expected: dict[str, Tensor], source: str) -> None:
    """A list of hundreds of names helps nobody: say which part is absent or another one."""
    head = any(key.startswith("act_head.") for key in expected)
    if head and not any(key.startswith("act_head.") for key in tensors):
        raise WeightsError(
            f"{source} has no policy head (no act_head.* tensors): it holds a plain vision-language model or "
            "another network; give the checkpoint of a trained RoboVLM"
        )
    backbone = {key for key in expected if key.startswith("backbone.")}
    found = {key for key in tensors if key.startswith("backbone.")}
    if not found:
        raise WeightsError(
            f"{source} has a policy head but no backbone (no backbone.* tensors); give the whole checkpoint: "
            "nothing is taken from the backbone's own files"
        )
    if 2 * len(backbone & found) < len(backbone):
        raise WeightsError(
            f"{source} holds another backbone than {name}: of its {len(backbone)} tensors {len(backbone & found)} "
            f"are there, but {listing(found - backbone, 3)}; use the configuration that belongs to this checkpoint"
        )


def _cast_tables(module: nn.Module, dtype: torch.dtype) -> None:
    for name, table in module.named_buffers(recurse=False):
        if table.is_floating_point():
            module._buffers[name] = table.to(dtype)
