"""Which weights are trained: ``train_setup`` of a configuration (robovlms.md, sections 2.2 and 3.6)."""

from __future__ import annotations

from torch import nn

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.config import TrainSetup
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.model.lora import add_lora


def set_trainable(model: BaseRoboVLM) -> None:
    """Freeze and unfreeze ``model`` as its configuration says; with ``lora_enable`` adapters are added.

    In this order, later rules over earlier ones: ``freeze_backbone`` freezes all of the backbone,
    ``train_decoder_layers`` (-1: everything) all but the last so many layers of the language model;
    ``train_vision`` decides about the image encoder; LoRA freezes the whole backbone under its adapters;
    ``train_text_embedding`` decides about the text embedding, and with it about an output layer tied to it; an
    output layer of its own is frozen where no words are predicted. What is not part of the backbone is always
    trained, but for a resampler with ``freeze_resampler``.

    A Flamingo trains its gated cross-attention alone, the last ``train_decoder_layers`` of it; with
    ``train_full_decoder`` the language model too, and with ``train_resampler`` its perceiver.

    Raises `ConfigError` where there are fewer layers than are to be trained.
    """
    setup = model.config.train_setup
    model.requires_grad_(True)
    model.backbone.requires_grad_(False)
    if not setup.freeze_backbone:
        _train_decoder(model, setup)
    model.vision_tower.requires_grad_(setup.train_vision)
    if setup.lora_enable:
        add_lora(model.backbone, _adapted(model, setup), setup)
    output_layer = model.backbone.get_output_embeddings()
    if output_layer is not None and not model.discrete:
        output_layer.requires_grad_(False)
    model.word_embedding.requires_grad_(setup.train_text_embedding)
    if model.vision_resampler is not None:
        model.vision_resampler.requires_grad_(not setup.freeze_resampler)


def _train_decoder(model: BaseRoboVLM, setup: TrainSetup) -> None:
    tower, count = model.text_tower, setup.train_decoder_layers
    cross_attention = getattr(tower, "gated_cross_attn_layers", None)
    if cross_attention is not None:
        tower.requires_grad_(setup.train_full_decoder)
        _last(cross_attention, len(cross_attention) if count == -1 else count).requires_grad_(True)
        tower.perceiver_resampler.requires_grad_(setup.train_resampler)
    elif count == -1:
        model.backbone.requires_grad_(True)
    else:
        _last(decoder_layers(model), count).requires_grad_(True)


def _last(layers: nn.ModuleList, count: int) -> nn.ModuleList:
    if count > len(layers):
        raise ConfigError(
            f"train_setup.train_decoder_layers is {count}, but the language model has {len(layers)} such layers; "
            "give at most that, or -1 for all of them"
        )
    return nn.ModuleList(list(layers)[len(layers) - count :])


def decoder_layers(model: BaseRoboVLM) -> nn.ModuleList:
    """The layers of the language model, from the first to the last."""
    for name in ("layers", "blocks", "h"):
        layers = getattr(model.text_tower, name, None)
        if isinstance(layers, nn.ModuleList):
            return layers
    raise ConfigError(
        f"the layers of {type(model.text_tower).__name__} are not known here; "
        "set train_setup.train_decoder_layers to -1"
    )


def _adapted(model: BaseRoboVLM, setup: TrainSetup) -> list[nn.Module]:
    """Linear layers that get adapters: the language model's, and the image encoder's where that is trained."""
    vision = list(model.vision_tower.modules())
    skipped = set() if setup.train_vision else {id(module) for module in vision}
    modules = [*model.text_tower.modules(), *(vision if setup.train_vision else [])]
    return [module for module in modules if isinstance(module, nn.Linear) and id(module) not in skipped]
