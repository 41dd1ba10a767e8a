"""A policy without a model: deterministic actions from pixels, instruction and step, in microseconds.

It measures what a node costs by itself and lets tests drive the whole path. Nodes take it only from Python,
through their ``policy_factory``; no parameter selects it, so no robot runs it by mistake.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.policy.safety import Limits
from robovlms_ros.policy.types import ActionChunk, Observation

# Metres and radians at full scale.
SCALE = np.array([0.02, 0.02, 0.02, 0.05, 0.05, 0.05])


@dataclass(frozen=True)
class NullProfile:
    """The action space of the null policy: SI units, 30 Hz."""

    frame: str = "base_link"
    rotation_format: str = "rpy"
    step_duration: float = 1 / 30
    predicted_in: str = "frame"
    dimensions: None = None
    workspace: None = None
    limits: Limits = field(default_factory=lambda: Limits(translation=0.05, rotation=0.1))

    def denormalize(self, normalized: NDArray[np.float32]) -> NDArray[np.float64]:
        """Map ``(N, 7)`` normalised actions to metres, radians and gripper opening."""
        actions = normalized.astype(np.float64)
        actions[:, :6] *= SCALE
        return actions

    def orientation(self, state: NDArray[np.float64] | None) -> None:
        """Return None: actions are in the arm's frame."""

    def normalize(
        self, actions: NDArray[np.float64], orientation: NDArray[np.float64] | None = None
    ) -> NDArray[np.float32]:
        """Invert ``denormalize``."""
        normalized = np.array(actions, dtype=np.float64)
        normalized[:, :6] /= SCALE
        return normalized.astype(np.float32)

    def to_si(self, actions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``actions``, which are in metres and radians already."""
        return actions

    def from_si(self, actions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``actions``, which are in metres and radians already."""
        return actions


class NullSession:
    """One episode: counts its steps. See NullPolicy."""

    def __init__(self, cameras: Sequence[str], chunk: int, delay: float, execute_horizon: int) -> None:
        self._cameras = tuple(cameras)
        self._chunk = chunk
        self._delay = delay
        self._execute_horizon = min(execute_horizon, chunk)
        self._profile = NullProfile()
        self.reset()

    def reset(self) -> None:
        """Count from zero and forget the instruction and the queued chunk."""
        self._step = 0
        self._instruction: str | None = None
        self._queued = np.zeros((0, 7), dtype=np.float32)

    def step(self, observation: Observation) -> ActionChunk:
        """Return ``(chunk, 7)`` actions that depend on pixels, instruction, step and newest history row."""
        if observation.instruction != self._instruction:
            self.reset()
            self._instruction = observation.instruction
        timings: dict[str, float] = {}
        if not len(self._queued):
            started = time.perf_counter()
            time.sleep(self._delay)
            self._queued = self._predict(observation)
            timings["model"] = time.perf_counter() - started
        chunk = self._queued
        executed = self._chunk - len(chunk) + 1
        self._queued = chunk[1:] if executed < self._execute_horizon else chunk[:0]
        self._step += 1
        return ActionChunk(chunk, self._profile.denormalize(chunk), timings)

    def _predict(self, observation: Observation) -> NDArray[np.float32]:
        looks = [observation.images.get(camera) for camera in self._cameras]
        pixels = [
            0 if image is None else int(image[image.shape[0] // 2, image.shape[1] // 2].sum()) for image in looks
        ]
        seed = zlib.crc32(observation.instruction.encode()) % 997 + sum(pixels)
        if observation.history is not None and observation.history.valid.any():
            seed += int(observation.history.valid.sum())
        phase = seed + 0.1 * (self._step + np.arange(self._chunk, dtype=np.float64)[:, None])
        actions = np.sin(phase + np.arange(7.0)).astype(np.float32)
        actions[:, 6] = actions[:, 6] > 0
        return actions


class NullPolicy:
    """Looks like a loaded model to a node: card, cameras, profile, sessions.

    ``chunk`` actions per prediction; ``delay`` seconds of pretended inference for each.
    """

    special_tokens: Sequence[str] = ()

    def __init__(self, cameras: Sequence[str] = ("static",), chunk: int = 1, delay: float = 0.0) -> None:
        self.cameras = tuple(cameras)
        self.profile = NullProfile()
        self._chunk = chunk
        self._delay = delay

    @property
    def card(self) -> Mapping[str, object]:
        """The model card of no model."""
        return {"model_id": "null/none@0", "cameras": list(self.cameras), "window": 1, "chunk": self._chunk}

    def session(self, execute_horizon: int = 1) -> NullSession:
        """Start an episode that predicts on every ``execute_horizon``-th step."""
        return NullSession(self.cameras, self._chunk, self._delay, execute_horizon)
