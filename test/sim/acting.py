"""Policies for the tabletop without a model: one that sees everything, one that knows everything."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from robovlms_ros.policy.robot_profile import RobotProfile, load_profile
from robovlms_ros.policy.types import ActionChunk, Observation


class Session:
    """Answers with ``predict(observation, step)``, ``(chunk, 7)`` in [-1, 1] and the gripper's 0 or 1."""

    def __init__(
        self, profile: RobotProfile, predict: Callable[[Observation, int], np.ndarray], horizon: int
    ) -> None:
        self._profile, self._predict, self._horizon = profile, predict, horizon
        self.reset()

    def reset(self) -> None:
        self._step, self._queued, self._instruction = 0, np.zeros((0, 7), np.float32), ""

    def step(self, observation: Observation) -> ActionChunk:
        if observation.instruction != self._instruction:
            self.reset()
            self._instruction = observation.instruction
        timings: dict[str, float] = {}
        if not len(self._queued):
            self._queued = self._predict(observation, self._step)
            timings, self._left = {"model": 0.001}, min(self._horizon, len(self._queued))
        chunk, self._left = self._queued, self._left - 1
        self._queued = chunk[1:] if self._left else chunk[:0]
        self._step += 1
        return ActionChunk(chunk, self._profile.denormalize(chunk), timings)


class SensitivePolicy:
    """Its actions differ as soon as one bit of an image, the state, the history or the instruction does."""

    cameras: Sequence[str] = ("static", "hand")
    special_tokens: Sequence[str] = ()

    def __init__(self, chunk: int = 5, scale: float = 1.3) -> None:
        self.profile = load_profile("tabletop")
        self.chunk, self.scale = chunk, scale

    @property
    def card(self) -> Mapping[str, object]:
        return {
            "model_id": "sensitive/none@0",
            "cameras": list(self.cameras),
            "window": 1,
            "chunk": self.chunk,
            "state_dim": 7,
            "action_encoder": "LinearActionEncoder",
        }

    def session(self, execute_horizon: int = 1) -> Session:
        return Session(self.profile, self._predict, execute_horizon)

    def _predict(self, observation: Observation, step: int) -> np.ndarray:
        digest = zlib.crc32(f"{step} {observation.instruction}".encode())
        for camera in self.cameras:
            image = observation.images[camera]
            assert image is not None
            digest = zlib.crc32(image.tobytes(), digest)
        assert observation.state is not None
        digest = zlib.crc32(observation.state.tobytes(), digest)
        if observation.history is not None:
            digest = zlib.crc32(observation.history.actions.tobytes(), digest)
            digest = zlib.crc32(observation.history.valid.tobytes(), digest)
        random = np.random.default_rng(digest)
        actions = random.uniform(-self.scale, self.scale, (self.chunk, 7)).astype(np.float32)
        actions[:, 6] = actions[:, 6] > 0
        return actions


class KnowingPolicy(SensitivePolicy):
    """Does what ``act()`` says, ``(7,)`` in SI units: the expert's answer, where it can see the world."""

    def __init__(self, act: Callable[[], np.ndarray]) -> None:
        super().__init__(chunk=1)
        self._act = act

    def _predict(self, observation: Observation, step: int) -> np.ndarray:
        action = self._act()
        normalized = self.profile.normalize(action[None])
        normalized[:, 6] = action[6] >= 0.5
        return normalized
