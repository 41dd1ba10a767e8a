"""How a model's training squeezed actions into [-1, 1], and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.data.normalization import compress_mu_law, expand_mu_law, scale_from_unit, scale_to_unit
from robovlms_ros.model.config import RoboVLMConfig

Array = NDArray[np.float64]


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
            pose = expand_mu_law(pose, self.mu)
        if self.standard is not None:
            mean, deviation = self.standard
            pose = pose * (deviation + 1e-6) + mean
        return pose if self.bounds is None else scale_from_unit(pose, *self.bounds)

    def normalize(self, pose: Array) -> Array:
        """The inverse of `denormalize`."""
        if self.bounds is not None:
            pose = scale_to_unit(pose, *self.bounds)
        if self.standard is not None:
            mean, deviation = self.standard
            pose = (pose - mean) / (deviation + 1e-6)
        return pose if self.mu is None else compress_mu_law(pose, self.mu)
