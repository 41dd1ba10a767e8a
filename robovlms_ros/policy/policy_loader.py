"""From parameters to a loaded policy. The one place of the nodes that reaches the torch side, when configured."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from robovlms_ros.policy.decision import Profile
from robovlms_ros.policy.share import find_shared
from robovlms_ros.policy.types import Policy


class LimitPair(Protocol):
    """Norms of one action's translation in metres and rotation in radians."""

    @property
    def translation(self) -> float:
        """Metres."""

    @property
    def rotation(self) -> float:
        """Radians."""


class Box(Protocol):
    """Two corners in metres."""

    @property
    def min(self) -> Sequence[float]:
        """The smallest x, y and z."""

    @property
    def max(self) -> Sequence[float]:
        """The largest x, y and z."""


class RobotProfile(Profile, Protocol):
    """What a node needs of a robot profile. ``step_duration`` in seconds."""

    @property
    def frame(self) -> str:
        """Frame of translation and rotation."""

    @property
    def rotation_format(self) -> str:
        """``"rpy"`` or ``"axis_angle"``."""

    @property
    def step_duration(self) -> float:
        """Nominal time of one action in seconds."""

    @property
    def predicted_in(self) -> str:
        """``"frame"``, or ``"tool"`` where every observation needs the tool's pose."""

    @property
    def dimensions(self) -> Sequence[str] | None:
        """Names of the numbers of an action that is no arm's; None of an arm's."""

    @property
    def limits(self) -> LimitPair:
        """Largest motion of one action."""

    @property
    def workspace(self) -> Box | None:
        """A box in ``frame`` that the tool must not leave."""


class RobotPolicy(Policy, Protocol):
    """A policy with everything that a node tells an arm about it."""

    @property
    def profile(self) -> RobotProfile:
        """The robot that it was trained for."""

    @property
    def cameras(self) -> Sequence[str]:
        """Names of the cameras that it takes, ``"static"`` and perhaps ``"hand"``."""

    @property
    def special_tokens(self) -> Sequence[str]:
        """Texts that an instruction must not contain."""


PolicyFactory = Callable[[Mapping[str, Any]], RobotPolicy]


# The model that is taken where none is named: of the simulated tabletop, and of no use elsewhere.
DEFAULT_MODEL = "tabletop"


def model_folder(path: str) -> str:
    """The folder that the parameter ``model.path`` means: a path, or the name of a built-in model.

    Raises ValueError where it is empty and `DEFAULT_MODEL` is not installed.
    """
    if path and (Path(path).expanduser().is_dir() or len(Path(path).parts) > 1):
        return path
    found = find_shared("models", path or DEFAULT_MODEL)
    if found is None and not path:
        raise ValueError(
            "no model: set the parameter model.path (launch argument model:=) to the folder of a packed model; "
            "'robovlms pack' makes one from a RoboVLMs configuration and checkpoint"
        )
    return path if found is None else str(found)


def load_policy(values: Mapping[str, Any]) -> RobotPolicy:
    """Load the model that the parameters under ``model.`` name.

    Raises ValueError (ModelError is one) with a message that names the thing and the cure.
    """
    path = model_folder(values["model.path"])
    if not values["model.allow_download"] and not Path(path).expanduser().is_dir():
        what = "is a file" if Path(path).expanduser().exists() else "does not exist"
        raise ValueError(
            f"model.path {path!r} {what}; it must be the folder of a packed model, made by 'robovlms pack', or "
            f"the name of a built-in one ({DEFAULT_MODEL})"
        )
    try:
        from robovlms_ros.policy.compute import use_threads
        from robovlms_ros.policy.vla_policy import VLAPolicy
    except ImportError as error:
        raise ValueError(
            f"a Python package that models need cannot be imported: {error}; 'pip install' this package, or see "
            "its README on torch and transformers"
        ) from error

    use_threads(values["model.threads"])
    return VLAPolicy.load(
        path,
        policy_head=values["model.policy_head"],
        device=values["model.device"],
        dtype=values["model.dtype"],
        preprocess=values["model.preprocess"],
        allow_download=values["model.allow_download"],
    )


def unload() -> None:
    """Give the memory of a policy back that nobody refers to any more, a GPU's included."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
