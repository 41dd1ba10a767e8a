"""Model, losses and auxiliary heads as one module, so that a wrapper for many processes sees one forward pass."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.model.policy_head.base_policy import ActionOutput
from robovlms_ros.policy.preprocess import ImagePreprocessor
from robovlms_ros.train.auxiliary import AuxiliaryHead
from robovlms_ros.train.batch import Batch
from robovlms_ros.train.features import Level
from robovlms_ros.train.losses import LossSettings, continuous_losses, discrete_losses, scored


class TrainingNetwork(nn.Module):
    """A batch in, losses out.

    Args:
        vla: the model.
        preprocess: normalises its images.
        loss: the action loss.
        auxiliary: further heads by name, each with the weight of its loss.
        kept: what the batches hold in the place of images.
        dropout: whether the network's own dropouts are used.
        pad_prompts: pad the shorter prompts of a batch, as upstream does, which moves their action token away from
            where it is on a robot. Otherwise prompts of each length go through the language model by themselves.
    """

    def __init__(
        self,
        vla: BaseRoboVLM,
        preprocess: ImagePreprocessor,
        loss: LossSettings | None = None,
        auxiliary: Mapping[str, tuple[AuxiliaryHead, float]] | None = None,
        kept: Level | None = None,
        dropout: bool = True,
        pad_prompts: bool = False,
    ) -> None:
        super().__init__()
        self.vla = vla
        self.auxiliary = nn.ModuleDict({name: head for name, (head, _) in (auxiliary or {}).items()})
        self.kept = kept
        self._pad_prompts = pad_prompts
        self._weights = {name: weight for name, (_, weight) in (auxiliary or {}).items()}
        self.preprocess = preprocess
        self._loss = loss or LossSettings()
        self._newest_only = vla.head_config.history_type == "video" and not vla.discrete
        if vla.discrete and (self.auxiliary or self._loss.pose != "huber"):
            raise ConfigError("a model with discrete actions is trained on words alone; remove the other losses")
        if vla.head_config.type == "PredefinedDecoder" and self._loss.pose != "huber":
            raise ConfigError("a PredefinedDecoder is trained to choose; remove loss.pose")
        if not dropout:
            remove_dropout(self)

    def train(self, mode: bool = True) -> TrainingNetwork:
        """As any module; but what of the image path is frozen stays in evaluation mode, without dropout."""
        super().train(mode)
        # Flamingo's language model has the image encoder inside.
        language = set(self.vla.text_tower.modules()) - set(self.vla.vision_tower.modules())
        for module in self.vla.backbone.modules():
            if module not in language and not any(weight.requires_grad for weight in module.parameters()):
                module.training = False
        return self

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Scalars, see `robovlms_ros.train.losses`; ``loss`` is the one to minimise."""
        if self.vla.discrete:
            return self._discrete_losses(batch)
        output, features = self._read(batch)
        parts = continuous_losses(self.vla.act_head, output, batch, self._loss)
        for name, head in self.auxiliary.items():
            parts[f"aux_{name}"] = head(features, batch)
            parts["loss"] = parts["loss"] + self._weights[name] * parts[f"aux_{name}"]
        return parts

    def predict(self, batch: Batch) -> ActionOutput:
        """The chunk of every step of every window, ``(B, W, N, ...)``; for a continuous model."""
        return self._read(batch)[0]

    def _parts(self, batch: Batch) -> list[tuple[list[int], Batch]]:
        if self._pad_prompts:
            return [(list(range(len(batch.lengths))), batch)]
        return [(places, part._replace(text_mask=None)) for places, part in batch.by_length()]

    def _read(self, batch: Batch) -> tuple[ActionOutput, Tensor]:
        """Chunks, and what the policy head read, in the order of the batch."""
        outputs, features, places = [], [], list[int]()
        images = self.vla.window_images(*self._cameras(batch))
        for chosen, part in self._parts(batch):
            features.append(self._features(images[chosen], part))
            outputs.append(_full(self._decide(features[-1])))
            places += chosen
        if len({part.shape[-2] for part in features}) > 1:
            # As many tokens as there are in each prompt.
            features = [part.amax(dim=-2, keepdim=True) for part in features]
        order = torch.tensor(places, device=batch.pose.device).argsort()
        return _joined(outputs, order), torch.cat(features)[order]

    def _decide(self, features: Tensor) -> ActionOutput:
        """A policy head with float32 weights computes in float32, even where the backbone does not.

        It is small, its output is what is minimised, and most CPUs have no LSTM in bfloat16.
        """
        head = self.vla.act_head
        if any(weight.dtype != torch.float32 for weight in head.parameters()):
            output: ActionOutput = head(features)
            return output
        with torch.autocast(features.device.type, enabled=False):
            output = head(features.float())
            return output

    def _discrete_losses(self, batch: Batch) -> dict[str, Tensor]:
        total, sums = self.scored(batch), dict[str, Tensor]()
        for _, part in self._parts(batch):
            static, hand = self._cameras(part)
            losses = self.vla(static, part.ids, part.text_mask, hand, labels=part.labels)
            for name, value in discrete_losses(losses).items():
                weighted = value * (self.scored(part) / total)
                sums[name] = sums[name] + weighted if name in sums else weighted
        return sums

    def scored(self, batch: Batch) -> int:
        """How many targets the means of `forward` are taken over."""
        return scored(batch, self._newest_only)

    def images(self, given: Tensor) -> Tensor:
        """What a batch holds of one camera -> what the model takes: images, or image tokens."""
        if given.ndim == 5:
            return self.preprocess.normalize(given) if given.dtype == torch.uint8 else given
        given = given.to(self.vla.dtype)
        if self.kept == "tokens":
            return given
        tokens = self.vla.project(given.flatten(0, 1))
        return tokens.view(*given.shape[:2], *tokens.shape[1:])

    def _cameras(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        return self.images(batch.static), None if batch.hand is None else self.images(batch.hand)

    def _features(self, images: Tensor, batch: Batch) -> Tensor:
        history = None
        if self.vla.act_encoder is not None:
            assert batch.history is not None
            assert batch.history_valid is not None
            history = batch.history, batch.history_valid
        state = None if self.vla.config.state_encoder is None else batch.state
        return self.vla.read_images(images, batch.ids, batch.text_mask, history, state)


def remove_dropout(module: nn.Module) -> None:
    """Set every dropout below ``module`` to 0: those that are modules, and the numbers that transformers keeps."""
    for part in module.modules():
        if isinstance(part, nn.modules.dropout._DropoutNd):
            part.p = 0.0
        for name, value in vars(part).items():
            # Idefics calls one of them "config".
            if ("dropout" in name or name == "config") and isinstance(value, float):
                setattr(part, name, 0.0)


def _full(output: ActionOutput) -> ActionOutput:
    """In float32, whatever the network computed in: losses are differences of almost equal numbers."""
    gripper, scores = (None if part is None else part.float() for part in (output.gripper, output.scores))
    return ActionOutput(output.pose.float(), gripper, scores)


def _joined(outputs: list[ActionOutput], order: Tensor) -> ActionOutput:
    def join(parts: list[Tensor | None]) -> Tensor | None:
        given = [part for part in parts if part is not None]
        return torch.cat(given)[order] if given else None

    pose = torch.cat([output.pose for output in outputs])[order]
    return ActionOutput(pose, join([o.gripper for o in outputs]), join([o.scores for o in outputs]))
