"""The model that a run starts from: which it is, decided without loading it, and then the model itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.checkpoint import Tensors, read_checkpoint
from robovlms_ros.model.config import RoboVLMConfig
from robovlms_ros.model.config_reader import load_json, merge, parse_config
from robovlms_ros.model.errors import ConfigError, WeightsError
from robovlms_ros.model.head_config import checked_head
from robovlms_ros.model.local_folder import load_pretrained
from robovlms_ros.model.registry import backbone_class, policy_head_class
from robovlms_ros.model.trainable import set_trainable
from robovlms_ros.model.untrained import write_untrained
from robovlms_ros.model.vlm_builder import build_model, find_vlm_folder
from robovlms_ros.model.weights import assign_weights
from robovlms_ros.policy.packed_model import HEAD_PREFIXES, PackedModel, open_packed
from robovlms_ros.train.config import ModelSection


@dataclass(frozen=True)
class ModelSource:
    """A model's configuration, the folder of its backbone, and where its weights come from.

    Without ``weights`` and ``packed`` they are those of the backbone's own folder, and the policy head is new.
    """

    config: RoboVLMConfig
    vlm_folder: Path
    weights: Path | None = None
    packed: PackedModel | None = None
    new_head: bool = False

    @property
    def name(self) -> str:
        """For messages."""
        return str(self.weights or (self.packed.folder if self.packed else self.vlm_folder))


def find_model(section: ModelSection, scratch: Path) -> ModelSource:
    """Which model ``section`` means; an untrained one is written into ``scratch``.

    Raises `ConfigError` for whatever can be known without its weights: files that are not there, keys and policy
    heads that do not exist, parts that do not go together.
    """
    if section.packed is not None:
        packed = open_packed(section.packed, section.policy_head)
        raw = packed.config.model_copy(update={"packed": None}).model_dump(mode="json", exclude_none=True)
        source = ModelSource(_config(raw, section), packed.vlm_folder, None, packed, section.new_head)
    elif section.untrained is not None:
        made = write_untrained(scratch, **section.untrained.model_dump())
        config = _config(load_json(made.config), section)
        folder = find_vlm_folder(config, made.config.parent)
        source = ModelSource(config, folder, made.checkpoint, None, section.new_head)
    else:
        assert section.config is not None  # one of the three is given
        config = _config(load_json(section.config), section)
        folder = find_vlm_folder(config, section.config.parent, section.vlm_dir)
        source = ModelSource(config, folder, section.weights, None, section.new_head)
    if source.weights is not None and not source.weights.is_file():
        raise ConfigError(f"model.weights: checkpoint {source.weights} does not exist; check the path")
    _check(source)
    return source


def _config(raw: dict[str, object], section: ModelSection) -> RoboVLMConfig:
    return parse_config(merge(raw, section.overrides), "model configuration")


def _check(source: ModelSource) -> None:
    config = source.config
    policy_head_class(checked_head(config).type)
    backbone_class(config.robovlm_name).check_config(config)
    if config.state_encoder is not None and config.state_encoder.arm_dim != 6:
        raise ConfigError(
            f"state_encoder.arm_dim is {config.state_encoder.arm_dim}; recorded states are the 6 numbers of the "
            "arm's pose and the gripper's opening, so it must be 6"
        )
    given = source.packed.config if source.packed is not None and not source.new_head else None
    if given is not None and given.act_head != config.act_head:
        raise ConfigError(
            f"model.overrides changes act_head, but the weights of {source.name} are those of another policy head "
            f"({given.act_head.type if given.act_head else 'none'}); set model.new_head to true to train a new one"
        )


def load_model(source: ModelSource, seed: int) -> BaseRoboVLM:
    """The model on the CPU in float32, frozen and adapted as its ``train_setup`` says.

    What is new in it (a policy head, adapters) is random and depends on ``seed`` alone. Raises `ModelError`.
    """
    config = source.config
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        from_scratch = source.weights is None and source.packed is None and not config.train_setup.load_vl_param
        model = build_model(config, source.vlm_folder, "cpu" if from_scratch else "meta", heads="cpu")
        if not from_scratch:
            _assign(model, source)
        if config.train_setup.reinit:
            reinitialise(model.backbone)
        set_trainable(model)
    _own_trained_weights(model)
    return model.train()


def _assign(model: BaseRoboVLM, source: ModelSource) -> None:
    try:
        assign_weights(model, _tensors(source, model), torch.float32, source.name)
    except WeightsError as error:
        if source.new_head or "act_head." not in str(error):
            raise
        raise WeightsError(f"{error}; or set model.new_head to true to train a new policy head") from error


def _tensors(source: ModelSource, model: BaseRoboVLM) -> Tensors:
    if source.weights is not None:
        tensors = read_checkpoint(source.weights)
    elif source.packed is not None:
        tensors = source.packed.tensors()
    else:
        backbone = load_pretrained(model.backbone_class, source.vlm_folder)
        tensors = {f"backbone.{name}": tensor for name, tensor in backbone.state_dict().items()}
    if source.new_head or (source.weights is None and source.packed is None):
        own = {name: tensor for name, tensor in model.state_dict().items() if not tensor.is_meta}
        # Of a model that was never trained nothing leads to a head.
        led = {} if source.config.untrained else own
        kept = {name: tensor for name, tensor in tensors.items() if _outlives_head(name, tensor, led)}
        # A resampler of the checkpoint is kept, one that it lacks is new.
        tensors = own | kept
    return tensors


def _outlives_head(name: str, tensor: Tensor, own: Tensors) -> bool:
    """Whether a tensor of the weights stays with a new head: what leads to the head does, where it still fits."""
    if not name.startswith(HEAD_PREFIXES):
        return True
    return not name.startswith("act_head.") and name in own and own[name].shape == tensor.shape


def reinitialise(module: nn.Module) -> None:
    """``train_setup.reinit``: Xavier-uniform matrices with zero biases, in place, everywhere below ``module``."""
    for part in module.modules():
        weight, bias = getattr(part, "weight", None), getattr(part, "bias", None)
        if isinstance(weight, nn.Parameter) and weight.ndim > 1:
            nn.init.xavier_uniform_(weight)
            if isinstance(bias, nn.Parameter):
                nn.init.zeros_(bias)


def recompute_activations(model: BaseRoboVLM) -> None:
    """``train_setup.gradient_checkpointing``: less memory, more time. Raises `ConfigError` where it cannot be."""
    if not model.config.train_setup.gradient_checkpointing:
        return
    backbone = model.backbone
    # The name in transformers 5.20 and later, and the one before.
    renamed = hasattr(backbone, "activation_checkpointing_enable")
    enable = backbone.activation_checkpointing_enable if renamed else backbone.gradient_checkpointing_enable
    try:
        enable({"use_reentrant": False})
    except ValueError as error:
        raise ConfigError(f"train_setup.gradient_checkpointing: {error}; set it to false") from error
    # Which transformers enables beside it, for the reentrant kind.
    backbone.disable_input_require_grads()


def _own_trained_weights(model: BaseRoboVLM) -> None:
    """Trained weights leave the checkpoint's mapped file, which is not theirs to write to."""
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.clone()
