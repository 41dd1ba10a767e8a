"""CLIP's text encoder, and the auxiliary training loss that pulls a model's tokens towards its features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from robovlms_ros.model.errors import ConfigError
from robovlms_ros.model.local_folder import load_pretrained


class ClipTextEncoder(nn.Module):
    """Sentences -> L2-normalised features. Frozen: it gives targets and is never trained.

    Args:
        model: a ``CLIPTextModelWithProjection`` of transformers.
        tokenizer: its tokenizer.
    """

    def __init__(self, model: nn.Module, tokenizer: Any) -> None:
        super().__init__()
        self.model: Any = model.requires_grad_(False).eval()
        self.tokenizer = tokenizer

    @classmethod
    def from_folder(cls, folder: str | Path) -> ClipTextEncoder:
        """With the weights and tokenizer of a CLIP model (or its text part) in a local folder.

        Raises `ConfigError` or `WeightsError` where the folder does not hold them.
        """
        from transformers import AutoTokenizer

        model = load_pretrained("CLIPTextModelWithProjection", folder)
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                Path(folder).expanduser(), local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ConfigError(f"no usable tokenizer in {folder}: {error}") from error
        return cls(model, tokenizer)

    @property
    def width(self) -> int:
        """Width of the features."""
        return int(self.model.config.projection_dim)

    def train(self, mode: bool = True) -> ClipTextEncoder:
        """Has no effect: the encoder stays in evaluation mode inside a model that trains."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, texts: Sequence[str]) -> Tensor:
        """``B`` sentences -> ``(B, width)`` of length 1; what is too long for CLIP is cut off."""
        inputs = self.tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=self.model.config.max_position_embeddings,
            return_tensors="pt",
        ).to(self.model.text_projection.weight.device)
        return functional.normalize(self.model(**inputs).text_embeds, dim=-1)


class ClipNormHead(nn.Module):
    """Auxiliary loss of training: the action tokens, projected, should resemble CLIP's feature of the instruction.

    The state_dict has ``lang_fc.*`` only. Upstream's copy of CLIP (``model.*``) is accepted and dropped: the
    encoder comes from its own folder. Upstream also leaves that copy trainable; a target that can move towards
    the prediction teaches nothing, so here it is frozen.

    Args:
        in_features: width ``D`` of the backbone's tokens.
        text_width: width of the features, `ClipTextEncoder.width`.
    """

    def __init__(self, in_features: int, text_width: int) -> None:
        super().__init__()
        self.lang_fc = nn.Linear(in_features, text_width)
        self.register_load_state_dict_pre_hook(_drop_encoder)  # type: ignore[no-untyped-call]

    def forward(self, tokens: Tensor, text_features: Tensor) -> Tensor:
        """The smooth L1 loss, a scalar.

        Args:
            tokens: action tokens ``(B, W, n, D)``; their maximum over ``n`` is compared.
            text_features: of the instructions, ``(B, text_width)``, from a `ClipTextEncoder`.
        """
        predicted = self.lang_fc(tokens.amax(dim=-2))
        target = text_features.to(predicted.dtype).unsqueeze(1).expand_as(predicted)
        return functional.smooth_l1_loss(predicted, target)


def _drop_encoder(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    for key in [key for key in state_dict if key.startswith(f"{prefix}model.")]:
        del state_dict[key]
