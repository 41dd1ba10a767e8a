"""Which weights are trained: ``train_setup`` of a configuration (robovlms.md, section 2.2)."""

from __future__ import annotations

from torch import nn

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
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

    Raises `ConfigError` where the language model has fewer layers than are to be trained.
    """
    setup = model.config.train_setup
    model.requires_grad_(True)
    whole = not setup.freeze_backbone and setup.train_decoder_layers == -1
    model.backbone.requires_grad_(whole)
    if not setup.freeze_backbone and not whole:
        layers = decoder_layers(model)
        if setup.train_decoder_layers > len(layers):
            raise ConfigError(
                f"train_setup.train_decoder_layers is {setup.train_decoder_layers}, but the language model has "
                f"{len(layers)} layers; give at most that, or -1 for the whole backbone"
            )
        for layer in list(layers)[len(layers) - setup.train_decoder_layers :]:
            layer.requires_grad_(True)
    model.vision_tower.requires_grad_(setup.train_vision)
    if setup.lora_enable:
        towers = [model.text_tower, model.vision_tower] if setup.train_vision else [model.text_tower]
        add_lora(model.backbone, towers, setup)
    output_layer = model.backbone.get_output_embeddings()
    if output_layer is not None and not model.discrete:
        output_layer.requires_grad_(False)
    model.word_embedding.requires_grad_(setup.train_text_embedding)
    if model.vision_resampler is not None:
        model.vision_resampler.requires_grad_(not setup.freeze_resampler)


def decoder_layers(model: BaseRoboVLM) -> nn.ModuleList:
    """The layers of the language model, from the first to the last."""
    for name in ("layers", "blocks", "h"):
        layers = getattr(model.text_tower, name, None)
        if isinstance(layers, nn.ModuleList):
            return layers
    raise ConfigError(
        f"the layers of {type(model.text_tower).__name__} are not known here; set train_setup.train_decoder_layers "
        "to -1"
    )
