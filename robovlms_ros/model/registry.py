"""Which backbones and policy heads exist. Others come from `robovlms_ros.model.plugins`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from robovlms_ros.model import plugins
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.model.unavailable import UNAVAILABLE_BACKBONES

if TYPE_CHECKING:
    from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
    from robovlms_ros.model.policy_head.base_policy import BasePolicyHead

BACKBONES: Mapping[str, str] = {
    "RoboKosMos": "robovlms_ros.model.backbone.robokosmos:RoboKosMos",
    # Upstream's name, and the way others spell it.
    "RoboPaligemma": "robovlms_ros.model.backbone.robopaligemma:RoboPaligemma",
    "RoboPaliGemma": "robovlms_ros.model.backbone.robopaligemma:RoboPaligemma",
    "RoboLLaVA": "robovlms_ros.model.backbone.robollava:RoboLLaVA",
    "RoboFlamingo": "robovlms_ros.model.backbone.roboflamingo:RoboFlamingo",
    "RoboQwenVL": "robovlms_ros.model.backbone.roboqwenvl:RoboQwenVL",
    "RoboSmolVLM": "robovlms_ros.model.backbone.robosmolvlm:RoboSmolVLM",
    "RoboIdefics3": "robovlms_ros.model.backbone.robosmolvlm:RoboIdefics3",
    # Ours, small enough to be trained on a laptop; the tabletop's model has it.
    "RoboKeypoint": "robovlms_ros.model.backbone.robokeypoint:RoboKeypoint",
}
POLICY_HEADS: Mapping[str, str] = {
    "DiscreteDecoder": "robovlms_ros.model.policy_head.discrete:DiscreteDecoder",
    "FCDecoder": "robovlms_ros.model.policy_head.fc:FCDecoder",
    "GPTDecoder": "robovlms_ros.model.policy_head.gpt:GPTDecoder",
    "LSTMDecoder": "robovlms_ros.model.policy_head.lstm:LSTMDecoder",
    "PredefinedDecoder": "robovlms_ros.model.policy_head.predefined:PredefinedDecoder",
}


def backbone_class(name: str) -> type[BaseRoboVLM]:
    """The class for a configuration's ``robovlm_name``; `ConfigError` lists what exists."""
    from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM

    if name in UNAVAILABLE_BACKBONES:
        raise ConfigError(f"robovlm_name is {name!r}: {UNAVAILABLE_BACKBONES[name]}")
    found: type[BaseRoboVLM] = _lookup("backbone", name, BACKBONES, "robovlm_name", BaseRoboVLM)
    return found


def policy_head_class(name: str) -> type[BasePolicyHead]:
    """The class for a configuration's ``act_head.type``; `ConfigError` lists what exists."""
    from robovlms_ros.model.policy_head.base_policy import BasePolicyHead

    found: type[BasePolicyHead] = _lookup("policy_head", name, POLICY_HEADS, "act_head.type", BasePolicyHead)
    return found


def _lookup(kind: plugins.Kind, name: str, own: Mapping[str, str], key: str, base: type) -> Any:
    if name in own:
        module, _, attribute = own[name].partition(":")
        return getattr(import_module(module), attribute)
    found = plugins.PLUGINS.find(kind, name)
    if found is None:
        exists = ", ".join(sorted({*own, *plugins.PLUGINS.names(kind)}))
        broken = "".join(f"; plugin {file} is broken: {why}" for file, why in plugins.PLUGINS.broken.items())
        raise ConfigError(f"{key} is {name!r}; this installation has {exists}{broken}")
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ConfigError(f"{key} {name!r} comes from a plugin, but is no {base.__name__}; derive it from that")
    return found
