"""A vision-language model that a laptop can train from nothing, in the form of those of transformers.

A few convolutions, told what to look for, find places in an image (spatial soft-argmax and a small network on the
places, as in Levine et al. 2016, "End-to-End Training of Deep Visuomotor Policies"); a small Llama reads what is
made of them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, LlamaConfig, LlamaModel, PretrainedConfig, PreTrainedModel

SHARPNESS = 4.0


class KeypointVisionConfig(PretrainedConfig):  # type: ignore[misc]
    """``channels``: of each convolution; the first two halve the resolution, the others keep it.

    ``keypoints``: places that are found in an image. ``tokens``: what is made of them.
    """

    model_type = "robovlms_keypoint_vision"
    image_size: int = 64
    channels: tuple[int, ...] | list[int] = (16, 32, 32, 48)
    keypoints: int = 32
    tokens: int = 4
    hidden_size: int = 256


class KeypointConfig(PretrainedConfig):  # type: ignore[misc]
    """The image encoder's configuration, and that of a `LlamaModel`."""

    model_type = "robovlms_keypoint"
    sub_configs = {"vision_config": KeypointVisionConfig, "text_config": LlamaConfig}  # noqa: RUF012  transformers'

    def __init__(
        self,
        vision_config: dict[str, Any] | KeypointVisionConfig | None = None,
        text_config: dict[str, Any] | LlamaConfig | None = None,
        **others: Any,
    ) -> None:
        vision, text = vision_config or {}, text_config or {}
        self.vision_config = KeypointVisionConfig(**vision) if isinstance(vision, dict) else vision
        self.text_config = LlamaConfig(**text) if isinstance(text, dict) else text
        super().__init__(**others)


class KeypointVisionTower(nn.Module):
    """Images ``(b, 3, S, S)`` and instructions ``(b, width)`` -> tokens ``(b, tokens, width)``.

    The instruction scales and shifts what the convolutions find (FiLM: Perez et al. 2018), so that the places are
    those that it is about.
    """

    def __init__(self, config: KeypointVisionConfig, width: int) -> None:
        super().__init__()
        channels = [3, *config.channels]
        self.convolutions = nn.ModuleList()
        for number, (given, made) in enumerate(pairwise(channels)):
            kernel, stride = (5, 2) if number == 0 else (3, 2 if number == 1 else 1)
            self.convolutions.append(nn.Conv2d(given, made, kernel, stride, kernel // 2))
        self.norms = nn.ModuleList(nn.GroupNorm(8, made) for made in config.channels)
        self.films = nn.ModuleList(nn.Linear(width, 2 * made) for made in config.channels)
        self.places = nn.Conv2d(channels[-1], config.keypoints, 1)
        # Without it every place starts as the middle of the whole image, and finds its way slowly.
        self.sharpness = nn.Parameter(torch.full((config.keypoints, 1), SHARPNESS))
        self.projection = nn.Sequential(
            nn.Linear(2 * config.keypoints, config.hidden_size),
            nn.ReLU(),
            nn.Linear(config.hidden_size, config.tokens * width),
        )

    def find(self, pixels: Tensor, instruction: Tensor) -> Tensor:
        """The places ``(b, keypoints, 2)``: x and y in [-1, 1], right and down."""
        seen = pixels
        for convolution, norm, film in zip(self.convolutions, self.norms, self.films, strict=True):
            scale, shift = film(instruction)[..., None, None].chunk(2, dim=1)
            seen = (norm(convolution(seen)) * (1 + scale) + shift).relu()
        attention = (self.sharpness * self.places(seen).flatten(2)).softmax(-1)
        rows, columns = (torch.linspace(-1, 1, n, device=seen.device, dtype=seen.dtype) for n in seen.shape[-2:])
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        places: Tensor = attention @ torch.stack([x.flatten(), y.flatten()], dim=1)
        return places

    def forward(self, pixels: Tensor, instruction: Tensor) -> Tensor:
        """See the class."""
        tokens: Tensor = self.projection(self.find(pixels, instruction).flatten(1))
        return tokens.view(len(pixels), -1, instruction.shape[-1])


class KeypointModel(PreTrainedModel):  # type: ignore[misc]
    """What reads the instruction, an image encoder for each camera (the hand's first), and a language model."""

    config_class = KeypointConfig
    base_model_prefix = "model"

    def __init__(self, config: KeypointConfig) -> None:
        super().__init__(config)
        vision, width = config.vision_config, config.text_config.hidden_size
        self.reader = nn.GRU(width, width, batch_first=True)
        # What the cameras see differs so much that one encoder for both learns far more slowly.
        self.vision_tower = nn.ModuleList(KeypointVisionTower(vision, width) for _ in range(2))
        self.language_model = LlamaModel(config.text_config)
        self.lm_head = nn.Linear(width, config.text_config.vocab_size, bias=False)
        self.post_init()

    def look(self, pixels: Tensor, text: Tensor, text_mask: Tensor | None = None) -> Tensor:
        """Images ``(B, T, 3, S, S)`` of T cameras, the static one last -> tokens ``(B, T * tokens, width)``.

        ``text`` ``(B, n, width)`` is the embedded prompt, ``text_mask`` False on the padding behind it.
        """
        # Of like size, whatever the embeddings are: otherwise nothing depends on the words for a long time.
        hidden, _ = self.reader(functional.layer_norm(text, text.shape[-1:]))
        there = torch.ones_like(hidden[..., :1]) if text_mask is None else text_mask.unsqueeze(-1).to(hidden)
        instruction = (hidden * there).sum(dim=1) / there.sum(dim=1)
        towers = self.vision_tower[-pixels.shape[1] :]
        tokens = [tower(camera, instruction) for tower, camera in zip(towers, pixels.unbind(1), strict=True)]
        return torch.cat(tokens, dim=1)

    def get_output_embeddings(self) -> nn.Linear:
        """The output layer."""
        return self.lm_head

    def _init_weights(self, module: nn.Module) -> None:
        """The language model begins as transformers has it; these layers alone are ours."""
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
        bias = getattr(module, "bias", None)
        if isinstance(bias, nn.Parameter):
            nn.init.zeros_(bias)


AutoConfig.register(KeypointConfig.model_type, KeypointConfig)
