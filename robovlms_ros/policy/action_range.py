"""How a model's training squeezed actions into [-1, 1], and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.model.config import RoboVLMConfig

Array = NDArray[np.float64]


def scale(pose: Array, low: float | Array, high: float | Array) -> Array:
    """[-1, 1] -> [low, high]."""
    return np.asarray(0.5 * (pose + 1) * (high - low) + low)


def unscale(pose: Array, low: float | Array, high: float | Array) -> Array:
    """[low, high] -> [-1, 1]."""
    return np.asarray(2 * (pose - low) / (high - low) - 1)


@dataclass(frozen=True)
class ActionRange:
    """The model's own stage of normalisation: range, then standardisation, then mu-law (robovlms.md, section 5).

    None switches a stage off; ``standard`` is mean and standard deviation.
    """

    bounds: tuple[float, float] | None = None
    standard: tuple[float, float] | None = None
    mu: float | None = None

    @classmethod
    def of_model(cls, config: RoboVLMConfig) -> ActionRange:
        """The stages that a model's configuration switches on."""
        return cls(
            bounds=(config.norm_min, config.norm_max) if config.norm_action else None,
            standard=(config.x_mean, config.x_std) if config.regular_action else None,
            mu=config.mu_val if config.use_mu_law else None,
        )

    def denormalize(self, pose: Array) -> Array:
        """Model output -> the units of its training data."""
        if self.mu is not None:
            pose = np.sign(pose) * np.expm1(np.abs(pose) * np.log1p(self.mu)) / self.mu
        if self.standard is not None:
            mean, deviation = self.standard
            pose = pose * (deviation + 1e-6) + mean
        return pose if self.bounds is None else scale(pose, *self.bounds)

    def normalize(self, pose: Array) -> Array:
        """The inverse of `denormalize`."""
        if self.bounds is not None:
            pose = unscale(pose, *self.bounds)
        if self.standard is not None:
            mean, deviation = self.standard
            pose = (pose - mean) / (deviation + 1e-6)
        return pose if self.mu is None else np.sign(pose) * np.log1p(self.mu * np.abs(pose)) / np.log1p(self.mu)
