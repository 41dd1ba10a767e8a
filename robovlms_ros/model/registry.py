"""Which backbones and policy heads exist. Others come from installed packages, through entry points."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from robovlms_ros.model.errors import ConfigError

if TYPE_CHECKING:
    from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
    from robovlms_ros.model.policy_head.base_policy import BasePolicyHead

BACKBONES: Mapping[str, str] = {
    "RoboKosMos": "robovlms_ros.model.backbone.robokosmos:RoboKosMos",
    # Upstream's name, and the way others spell it.
    "RoboPaligemma": "robovlms_ros.model.backbone.robopaligemma:RoboPaligemma",
    "RoboPaliGemma": "robovlms_ros.model.backbone.robopaligemma:RoboPaligemma",
    "RoboLLaVA": "robovlms_ros.model.backbone.robollava:RoboLLaVA",
    "RoboQwenVL": "robovlms_ros.model.backbone.roboqwenvl:RoboQwenVL",
    "RoboSmolVLM": "robovlms_ros.model.backbone.robosmolvlm:RoboSmolVLM",
    "RoboIdefics3": "robovlms_ros.model.backbone.robosmolvlm:RoboIdefics3",
}
POLICY_HEADS: Mapping[str, str] = {
    "LSTMDecoder": "robovlms_ros.model.policy_head.lstm:LSTMDecoder",
}


def backbone_class(name: str) -> type[BaseRoboVLM]:
    """The class for a configuration's ``robovlm_name``; `ConfigError` lists what exists."""
    found: type[BaseRoboVLM] = _lookup(name, BACKBONES, "robovlms_ros.backbones", "robovlm_name")
    return found


def policy_head_class(name: str) -> type[BasePolicyHead]:
    """The class for a configuration's ``act_head.type``; `ConfigError` lists what exists."""
    found: type[BasePolicyHead] = _lookup(name, POLICY_HEADS, "robovlms_ros.policy_heads", "act_head.type")
    return found


def _lookup(name: str, own: Mapping[str, str], group: str, key: str) -> Any:
    if name in own:
        module, _, attribute = own[name].partition(":")
        return getattr(import_module(module), attribute)
    others = {entry.name: entry for entry in entry_points(group=group)}
    if name not in others:
        raise ConfigError(f"{key} is {name!r}; this installation has {', '.join(sorted({*own, *others}))}")
    return others[name].load()
