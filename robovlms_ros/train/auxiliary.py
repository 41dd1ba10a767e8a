"""Further losses on what the policy head reads, each with weights of its own that no robot needs.

One comes from here (`AUXILIARY_HEADS`), or from a plugin: an entry point of the group
``robovlms_ros.auxiliary_heads``, or `register_auxiliary_head` in a plugin folder.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.model.plugins import PLUGINS
from robovlms_ros.model.text_encoder.clip_text_encoder import ClipNormHead, ClipTextEncoder
from robovlms_ros.train.batch import Batch


class AuxiliaryHead(nn.Module, ABC):
    """Gives one loss. A subclass takes its options as keyword arguments of `build`."""

    needs_states: ClassVar[bool] = False
    """Whether the batches must hold the robot's states."""

    @classmethod
    @abstractmethod
    def build(cls, model: BaseRoboVLM, **options: Any) -> AuxiliaryHead:
        """The head for this model. Raises `ConfigError` where the options are wrong."""

    @abstractmethod
    def forward(self, features: Tensor, batch: Batch) -> Tensor:
        """A scalar, the mean over the batch.

        Args:
            features: what the policy head reads, ``(B, steps, n, D)``; ``steps`` is W, with ``video`` history 1.
            batch: the windows, on the same device.
        """


class StatePrediction(AuxiliaryHead):
    """Asks the features where the arm is: mean squared error of the robot's state (metres, radians, opening)."""

    needs_states = True

    def __init__(self, in_features: int, state_dim: int) -> None:
        super().__init__()
        self.state = nn.Linear(in_features, state_dim)

    @classmethod
    def build(cls, model: BaseRoboVLM, **options: Any) -> StatePrediction:
        """See `AuxiliaryHead.build`; there are no options."""
        _refuse(options)
        return cls(model.hidden_size, 7)

    def forward(self, features: Tensor, batch: Batch) -> Tensor:
        """See `AuxiliaryHead.forward`; the tokens of a step are pooled by their maximum."""
        assert batch.state is not None  # `needs_states`
        predicted = self.state(features.amax(dim=-2))
        return functional.mse_loss(predicted.float(), batch.state[:, -features.shape[1] :].float())


class ClipNorm(AuxiliaryHead):
    """Upstream's ``clip_norm_head``: the action tokens should resemble CLIP's feature of the instruction."""

    def __init__(self, in_features: int, encoder: ClipTextEncoder) -> None:
        super().__init__()
        self.norm = ClipNormHead(in_features, encoder.width)
        # In a tuple it is no part of the state_dict: it is never trained and has a folder of its own.
        self._encoder = (encoder,)
        self._known: dict[str, Tensor] = {}

    @classmethod
    def build(cls, model: BaseRoboVLM, **options: Any) -> ClipNorm:
        """See `AuxiliaryHead.build`; ``folder`` is that of a CLIP model in transformers' format."""
        folder = options.pop("folder", None)
        _refuse(options)
        if not folder:
            raise ConfigError("auxiliary head 'clip_norm' needs the option 'folder': that of a CLIP model")
        return cls(model.hidden_size, ClipTextEncoder.from_folder(folder))

    def forward(self, features: Tensor, batch: Batch) -> Tensor:
        """See `AuxiliaryHead.forward`."""
        new = sorted(set(batch.instructions) - self._known.keys())
        if new:
            self._known.update(zip(new, self._encoder[0](new).cpu(), strict=True))
        targets = torch.stack([self._known[text] for text in batch.instructions]).to(features.device)
        loss: Tensor = self.norm(features, targets)
        return loss


# Those of other files are imported when they are asked for.
AUXILIARY_HEADS: Mapping[str, type[AuxiliaryHead] | str] = {
    "state_prediction": StatePrediction,
    "clip_norm": ClipNorm,
    "privileged": "robovlms_ros.train.privileged:PrivilegedPrediction",
}


def auxiliary_class(name: str) -> type[AuxiliaryHead]:
    """The class of that name; `ConfigError` lists what exists."""
    found = PLUGINS.find("auxiliary_head", name)
    if name in AUXILIARY_HEADS and found is not None:
        raise ConfigError(f"a plugin offers {name!r}, the name of an auxiliary head of robovlms_ros; rename it")
    own = AUXILIARY_HEADS.get(name, found)
    if isinstance(own, str):
        module, _, attribute = own.partition(":")
        own = getattr(import_module(module), attribute)
    found = own
    if found is None:
        exists = ", ".join(sorted({*AUXILIARY_HEADS, *PLUGINS.names("auxiliary_head")}))
        raise ConfigError(f"there is no auxiliary head {name!r}; this installation has {exists}")
    if not issubclass(found, AuxiliaryHead):
        raise ConfigError(f"auxiliary head {name!r} of a plugin is no AuxiliaryHead; derive it from that")
    return found


def _refuse(options: Mapping[str, Any]) -> None:
    if options:
        raise ConfigError(f"an auxiliary head has no option {', '.join(map(repr, sorted(options)))}")
