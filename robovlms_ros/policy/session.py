"""One episode: everything that is remembered between control steps, and nothing that is shared."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.errors import ObservationError
from robovlms_ros.model.sequence import MaskedTokens
from robovlms_ros.policy.compute import within_memory
from robovlms_ros.policy.gripper import Gripper, advance
from robovlms_ros.policy.preprocess import ImagePreprocessor
from robovlms_ros.policy.robot_profile import RobotProfile
from robovlms_ros.policy.types import ActionChunk, HistoryWindow, Observation

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

# The model reads the hand camera's tokens first.
CAMERA_ORDER = ("hand", "static")


class VLASession:
    """Runs a model step by step. Make one with `VLAPolicy.session`.

    Args:
        model: on its device, in inference mode; shared with other sessions.
        preprocess: from camera images to the model's.
        profile: from normalised actions to the robot's; bound to the model.
        cameras: names of the cameras that the model was trained with.
        execute_horizon: the model runs on every so-manieth step; between, its chunk is consumed.
    """

    def __init__(
        self,
        model: BaseRoboVLM,
        preprocess: ImagePreprocessor,
        profile: RobotProfile,
        cameras: tuple[str, ...],
        execute_horizon: int = 1,
    ) -> None:
        self._model = model
        self._preprocess = preprocess
        self._profile = profile
        self._cameras = cameras
        self._execute_horizon = execute_horizon
        self._warned_about_camera = False
        self.reset()

    def reset(self) -> None:
        """Forget everything: earlier frames, head memory, instruction, queued chunk, gripper state."""
        self._instruction: str | None = None
        self._text: Tensor | None = None
        self._memory = self._model.init_state()
        self._gripper: Gripper = self._profile.gripper.make()
        self._queued: NDArray[np.float32] | None = None
        self._executed = 0

    def step(self, observation: Observation) -> ActionChunk:
        """Advance by one control step; row 0 of the chunk is to be executed now. See `Session`.

        Raises `ObservationError` where the observation cannot be used; the session is then as before. Raises
        `DeviceMemoryError` where the device's memory is used up; `reset` the session before its next step.
        """
        return within_memory(lambda: self._step(observation))

    def _step(self, observation: Observation) -> ActionChunk:
        orientation = self._profile.orientation(observation.state)
        if self._queued is not None and observation.instruction.strip() == self._instruction:
            self._executed += 1
            if self._executed < self._execute_horizon:
                return self._chunk(self._queued[self._executed :], orientation, {})
        timings: dict[str, float] = {}
        normalized = self._infer(observation, timings)
        self._queued, self._executed = normalized, 0
        return self._chunk(normalized, orientation, timings)

    @torch.inference_mode()
    def _infer(self, observation: Observation, timings: dict[str, float]) -> NDArray[np.float32]:
        model = self._model
        pixels = self._timed("preprocess", timings, lambda: self._preprocess(self._images(observation)))
        history, state = self._history(observation.history), self._state(observation.state)
        started = time.perf_counter()
        text = self._embedded(observation.instruction.strip())
        images = self._timed("vision", timings, lambda: model.encode_images(pixels.unsqueeze(0)))
        memory, tokens = self._timed(
            "language", timings, lambda: model.observe(self._memory, images, text, history, state)
        )
        self._memory, output = self._timed("head", timings, lambda: model.decide(memory, tokens))
        timings["model"] = time.perf_counter() - started
        chunk = output.pose
        if output.gripper is not None:
            # The threshold is taken in the model's own type, as upstream does.
            opens = (output.gripper.sigmoid() > 0.5).to(chunk)
            chunk = torch.cat([chunk, opens.unsqueeze(-1)], dim=-1)
        normalized: NDArray[np.float32] = chunk[0].float().cpu().numpy()
        return normalized

    def _timed(self, stage: str, timings: dict[str, float], work: Callable[[], Result]) -> Result:
        started = time.perf_counter()
        result = work()
        if self._model.device.type == "cuda":
            torch.cuda.synchronize(self._model.device)
        timings[stage] = time.perf_counter() - started
        return result

    def _images(self, observation: Observation) -> list[NDArray[np.uint8]]:
        given = observation.images
        if given.get("static") is None:
            raise ObservationError("the image of camera 'static' is missing; the model needs one at every step")
        missing = [name for name in self._cameras if given.get(name) is None]
        if missing and not self._warned_about_camera:
            self._warned_about_camera = True
            logger.warning("no image from %s, which the model was trained with; going on without", missing)
        return [image for name in CAMERA_ORDER if name in self._cameras and (image := given.get(name)) is not None]

    def _embedded(self, instruction: str) -> Tensor:
        """The embedded prompt; a new instruction starts a new episode once it is known to be usable."""
        if self._text is None or instruction != self._instruction:
            text = self._model.embed_text(self._model.encode_text(instruction))
            self.reset()
            self._instruction, self._text = instruction, text
        return self._text

    def _history(self, history: HistoryWindow | None) -> MaskedTokens | None:
        """The last rows that the action encoder takes, padded in front with rows that are not valid."""
        settings = self._model.config.act_encoder
        if settings is None:
            return None
        width = self._model.head_config.action_dim
        actions, valid = np.zeros((settings.window, width), np.float32), np.zeros(settings.window, np.bool_)
        if history is not None and len(history.valid):
            if history.actions.shape[1] != width:
                raise ObservationError(
                    f"history: actions have {history.actions.shape[1]} numbers, the model's have {width}"
                )
            length = min(len(history.valid), settings.window)
            valid[-length:] = history.valid[-length:]
            actions[-length:] = np.where(valid[-length:, None], history.actions[-length:], 0)
            if not np.isfinite(actions).all():
                raise ObservationError("history: a valid row holds NaN or infinity; mark it as not valid")
        rows = self._tensor(actions)
        return self._model.encode_history(rows, torch.from_numpy(valid).to(rows.device).unsqueeze(0))

    def _state(self, state: NDArray[np.float64] | None) -> MaskedTokens | None:
        settings = self._model.config.state_encoder
        if settings is None:
            return None
        length = settings.arm_dim + 1
        if state is None:
            raise ObservationError(f"the model takes the robot's state; give {length} numbers at every step")
        values = np.asarray(state, np.float64)
        if values.shape != (length,) or not np.isfinite(values).all():
            raise ObservationError(
                f"the state must be {length} finite numbers ({settings.arm_dim} of the arm, then the gripper's "
                f"opening), got {values.tolist()}"
            )
        return self._model.encode_state(self._tensor(values))

    def _tensor(self, values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values).to(self._model.device, self._model.dtype).unsqueeze(0)

    def _chunk(
        self,
        normalized: NDArray[np.float32],
        orientation: NDArray[np.float64] | None,
        timings: Mapping[str, float],
    ) -> ActionChunk:
        actions = self._profile.denormalize(normalized, orientation)
        if self._model.head_config.with_gripper:
            actions[:, -1] = advance(self._gripper, [bool(answer > 0.5) for answer in normalized[:, -1]])
        return ActionChunk(normalized, actions, timings)
