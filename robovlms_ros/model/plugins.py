"""Backbones, policy heads and auxiliary heads of training from outside this package.

An installed distribution offers them as entry points of the groups ``robovlms_ros.backbones``,
``robovlms_ros.policy_heads`` and ``robovlms_ros.auxiliary_heads``, which are imported when a configuration asks
for them. A folder of Python files offers them with `register_backbone` and its siblings; nothing is read from a
folder that the user has not named, with `PluginManager.load_folder` or in the variable ``ROBOVLMS_PLUGINS``.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Literal, TypeVar

from robovlms_ros.model.errors import ConfigError

logger = logging.getLogger(__name__)
Kind = Literal["backbone", "policy_head", "auxiliary_head"]
Class = TypeVar("Class", bound=type)

FOLDERS_VARIABLE = "ROBOVLMS_PLUGINS"
ENTRY_POINT_GROUPS: Mapping[Kind, str] = {
    "backbone": "robovlms_ros.backbones",
    "policy_head": "robovlms_ros.policy_heads",
    "auxiliary_head": "robovlms_ros.auxiliary_heads",
}


class PluginManager:
    """Knows the plugins of this process. One that is broken is named where it is missed; the others go on."""

    def __init__(self) -> None:
        self._classes: dict[tuple[Kind, str], type] = {}
        self._broken: dict[str, str] = {}
        self._folders: set[Path] = set()

    @property
    def broken(self) -> Mapping[str, str]:
        """Files that could not be loaded, with the reason."""
        return self._broken

    def register(self, kind: Kind, name: str, cls: type) -> None:
        """Offer ``cls`` under a name for configurations. `ConfigError` where another class has the name."""
        from robovlms_ros.model.registry import BACKBONES, POLICY_HEADS

        own: Mapping[Kind, Mapping[str, str]] = {"backbone": BACKBONES, "policy_head": POLICY_HEADS}
        if name in own.get(kind, ()):
            raise ConfigError(f"{kind} {name!r} is the name of one that comes with robovlms_ros; choose another")
        taken = self._classes.setdefault((kind, name), cls)
        if taken is not cls:
            raise ConfigError(f"{kind} {name!r} exists already, in {taken.__module__}; choose another name")

    def load_folder(self, folder: str | Path) -> Mapping[str, str]:
        """Import every ``*.py`` in ``folder`` whose name does not start with an underscore, in order of name.

        Returns those that could not be loaded, with the reason; they are also logged and named where a
        configuration asks for something unknown. Raises `ConfigError` where ``folder`` is no folder.
        """
        path = Path(folder).expanduser().resolve()
        if not path.is_dir():
            raise ConfigError(f"plugin folder {path} is no folder; correct the path")
        if path in self._folders:
            return {}
        self._folders.add(path)
        broken = {}
        for file in sorted(path.glob("[!_]*.py")):
            before = dict(self._classes)
            try:
                _import(file)
            except Exception as error:  # whatever a plugin does wrong
                self._classes = before
                broken[str(file)] = f"{type(error).__name__}: {error}"
                logger.error("plugin %s cannot be loaded: %s", file, broken[str(file)])
        self._broken |= broken
        return broken

    def find(self, kind: Kind, name: str) -> type | None:
        """The class of that name, or None. Raises `ConfigError` naming the distribution that fails."""
        self._load_named_folders()
        if (kind, name) in self._classes:
            return self._classes[kind, name]
        entries = [entry for entry in entry_points(group=ENTRY_POINT_GROUPS[kind]) if entry.name == name]
        if len({entry.value for entry in entries}) > 1:
            origins = " and by ".join(map(_origin, entries))
            raise ConfigError(f"{kind} {name!r} is offered by {origins}; uninstall all but one")
        return _load(entries[0]) if entries else None

    def names(self, kind: Kind) -> set[str]:
        """What plugins offer."""
        self._load_named_folders()
        registered = {name for of, name in self._classes if of == kind}
        return registered | {entry.name for entry in entry_points(group=ENTRY_POINT_GROUPS[kind])}

    def _load_named_folders(self) -> None:
        for folder in filter(None, os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep)):
            self.load_folder(folder)


PLUGINS = PluginManager()


def register_backbone(name: str) -> Callable[[Class], Class]:
    """Class decorator for a plugin file: offer a `BaseRoboVLM` as ``robovlm_name``."""
    return _decorator("backbone", name)


def register_policy_head(name: str) -> Callable[[Class], Class]:
    """Class decorator for a plugin file: offer a `BasePolicyHead` as ``act_head.type``."""
    return _decorator("policy_head", name)


def register_auxiliary_head(name: str) -> Callable[[Class], Class]:
    """Class decorator for a plugin file: offer a `robovlms_ros.train.auxiliary.AuxiliaryHead`."""
    return _decorator("auxiliary_head", name)


def _decorator(kind: Kind, name: str) -> Callable[[Class], Class]:
    def register(cls: Class) -> Class:
        PLUGINS.register(kind, name, cls)
        return cls

    return register


def _import(file: Path) -> None:
    name = f"robovlms_plugin_{file.stem}_{abs(hash(file)):x}"
    spec = spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None  # it is a .py file
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def _load(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except Exception as error:  # whatever a plugin does wrong
        raise ConfigError(
            f"{_origin(entry)} offers {entry.name!r}, but cannot be imported ({type(error).__name__}: {error}); "
            "repair, update or uninstall it"
        ) from error


def _origin(entry: EntryPoint) -> str:
    return f"{entry.dist.name if entry.dist else 'an unknown distribution'} ({entry.value})"
