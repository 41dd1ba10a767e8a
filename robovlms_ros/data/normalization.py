"""Maps recorded actions to the numbers that a model is trained on, and back.

Actions are ``(..., action_dim)`` arrays; the gripper is the last column. Upstream's mu-law and standardisation
keep the last *row* of a trajectory instead of its last column; here it is always the column.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robovlms_ros.model.errors import ConfigError, ModelError

Array = NDArray[np.float64]

_STD_EPSILON = 1e-6  # upstream's, part of the formula that models were trained with
_QUANTILE_EPSILON = 1e-8  # OpenVLA's


def scale_to_unit(values: ArrayLike, low: ArrayLike, high: ArrayLike) -> Array:
    """``[low, high]`` -> [-1, 1]; values outside are clipped. The bounds may be one pair or one per dimension."""
    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    clipped = np.clip(np.asarray(values, dtype=np.float64), low, high)
    return np.asarray(2 * (clipped - low) / (high - low) - 1)


def scale_from_unit(values: ArrayLike, low: ArrayLike, high: ArrayLike) -> Array:
    """[-1, 1] -> ``[low, high]``, without clipping: the inverse of `scale_to_unit` inside the bounds."""
    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    return np.asarray(0.5 * (np.asarray(values, dtype=np.float64) + 1) * (high - low) + low)


def compress_mu_law(values: ArrayLike, mu: float = 255) -> Array:
    """mu-law companding, [-1, 1] -> [-1, 1] with more resolution around zero (ITU-T G.711)."""
    x = np.asarray(values, dtype=np.float64)
    return np.asarray(np.sign(x) * np.log1p(mu * np.abs(x)) / np.log1p(mu))


def expand_mu_law(values: ArrayLike, mu: float = 255) -> Array:
    """The inverse of `compress_mu_law`."""
    y = np.asarray(values, dtype=np.float64)
    return np.asarray(np.sign(y) * np.expm1(np.abs(y) * np.log1p(mu)) / mu)


@dataclass(frozen=True)
class ActionNormalizer:
    """A model's own normalisation, by the keys of its configuration; what is None or False is left out.

    In this order: clip to ``limits`` and scale to [-1, 1] (``norm_action``), standardise by ``mean_std``
    (``regular_action``), compress by ``mu`` (``use_mu_law``). With ``keep_gripper`` the last column passes
    through unchanged.
    """

    limits: tuple[float, float] | None = None
    mean_std: tuple[float, float] | None = None
    mu: float | None = None
    keep_gripper: bool = True

    def __post_init__(self) -> None:
        if self.limits is not None and not self.limits[0] < self.limits[1]:
            raise ConfigError(f"norm_min must be below norm_max, they are {self.limits[0]} and {self.limits[1]}")
        if self.mean_std is not None and not self.mean_std[1] > 0:
            raise ConfigError(f"x_std must be positive, it is {self.mean_std[1]}")
        if self.mu is not None and not self.mu > 0:
            raise ConfigError(f"mu_val must be positive, it is {self.mu}")

    def normalize(self, actions: ArrayLike) -> Array:
        """Recorded actions -> the model's. Raises `ModelError` where one is not finite."""
        given = _finite(actions)
        result = given.copy()
        if self.limits is not None:
            result = scale_to_unit(result, *self.limits)
        if self.mean_std is not None:
            mean, std = self.mean_std
            result = (result - mean) / (std + _STD_EPSILON)
        if self.mu is not None:
            result = compress_mu_law(result, self.mu)
        return self._with_gripper_of(given, result)

    def denormalize(self, actions: ArrayLike) -> Array:
        """The model's actions -> recorded ones. Raises `ModelError` where one is not finite."""
        given = _finite(actions)
        result = given.copy()
        if self.mu is not None:
            result = expand_mu_law(result, self.mu)
        if self.mean_std is not None:
            mean, std = self.mean_std
            result = result * (std + _STD_EPSILON) + mean
        if self.limits is not None:
            result = scale_from_unit(result, *self.limits)
        return self._with_gripper_of(given, result)

    def _with_gripper_of(self, given: Array, result: Array) -> Array:
        if self.keep_gripper:
            result[..., -1] = given[..., -1]
        return result


@dataclass(frozen=True)
class QuantileNormalizer:
    """A data set's normalisation: its 1 % and 99 % quantiles become -1 and 1 (OpenVLA's BOUNDS_Q99).

    A dimension that ``mask`` marks False (usually the gripper) passes through unchanged. A dimension that is
    constant in the data (``q01 == q99``) becomes 0, and back its constant.
    """

    q01: Array
    q99: Array
    mask: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if not self.q01.shape == self.q99.shape == self.mask.shape or self.q01.ndim != 1:
            raise ConfigError(
                "q01, q99 and mask must be lists of one length, they have the shapes "
                f"{self.q01.shape}, {self.q99.shape} and {self.mask.shape}"
            )
        wrong = np.flatnonzero(self.mask & ~(self.q01 <= self.q99))
        if wrong.size:
            raise ConfigError(
                f"q01 must not exceed q99, it does in dimensions {wrong.tolist()}; compute them again"
            )

    @classmethod
    def from_actions(cls, actions: ArrayLike, keep_gripper: bool = True) -> QuantileNormalizer:
        """The statistics of recorded actions ``(steps, action_dim)``. Raises `ModelError` on none, or NaN."""
        recorded = _finite(actions)
        if recorded.ndim != 2 or not len(recorded):
            raise ModelError(f"statistics need actions of shape (steps, action_dim), got {recorded.shape}")
        q01, q99 = np.quantile(recorded, [0.01, 0.99], axis=0)
        mask = np.ones(recorded.shape[1], dtype=np.bool_)
        mask[-1] = not keep_gripper
        return cls(q01, q99, mask)

    @property
    def constant(self) -> NDArray[np.bool_]:
        """Per dimension: True where the data never moves, which is worth a warning."""
        return np.asarray(self.mask & (self.q01 == self.q99))

    def normalize(self, actions: ArrayLike) -> Array:
        """Recorded actions ``(..., action_dim)`` -> [-1, 1], clipped. Raises `ModelError` on one not finite."""
        given = _finite(actions)
        scaled = np.clip(2 * (given - self.q01) / (self.q99 - self.q01 + _QUANTILE_EPSILON) - 1, -1, 1)
        return np.asarray(np.where(self.mask, np.where(self.constant, 0.0, scaled), given))

    def denormalize(self, actions: ArrayLike) -> Array:
        """[-1, 1] -> recorded actions ``(..., action_dim)``. Raises `ModelError` on one not finite."""
        given = _finite(actions)
        return np.asarray(np.where(self.mask, scale_from_unit(given, self.q01, self.q99), given))


def gripper_to_open(gripper: ArrayLike) -> Array:
    """A recorded gripper command, -1 = closed and 1 = open, as a training target: 0 or 1 (only 1 is open)."""
    return np.asarray(np.asarray(gripper, dtype=np.float64) >= 1, dtype=np.float64)


def _finite(actions: ArrayLike) -> Array:
    array = np.asarray(actions, dtype=np.float64)
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        raise ModelError(
            f"{len(bad)} action values are NaN or infinite, the first at index {tuple(bad[0].tolist())}; "
            "drop that episode or record it again"
        )
    return array
