"""What a training set is to everything that reads one: episodes of images, actions and an instruction.

Readers of each kind of recording give an `EpisodeSource`; the training loop, the statistics and the converter to
our own folder format take one. Numbers are in memory, images are decoded when asked for, so that a source of
100,000 frames needs little of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.data.errors import DataError

ACTION_DIM = 7
RotationFormat = Literal["rpy", "axis_angle"]


class Episode(Protocol):
    """One recorded attempt at one instruction: ``T`` steps, one every ``step_duration`` seconds."""

    @property
    def identifier(self) -> str:
        """Unique within its source; for messages."""

    @property
    def instruction(self) -> str:
        """What the robot was told."""

    @property
    def step_duration(self) -> float:
        """Seconds between steps."""

    @property
    def actions(self) -> NDArray[np.float64]:
        """``(T, 7)``, row ``t`` executed at frame ``t``, in the units of ``VLAAction``.

        Translation in metres, rotation in radians (in the source's ``rotation_format``) and the gripper's opening
        in [0, 1], 1 = open. All numbers are finite.
        """

    @property
    def states(self) -> NDArray[np.float64] | None:
        """``(T, 7)`` arm pose (x y z in metres, roll pitch yaw in radians) and gripper opening, or None."""

    @property
    def cameras(self) -> tuple[str, ...]:
        """Of ``"static"`` and ``"hand"`` those that have an image at every step."""

    def __len__(self) -> int:
        """``T``, at least 1."""

    def image(self, camera: str, step: int) -> NDArray[np.uint8]:
        """The ``(H, W, 3)`` RGB pixels at ``step``, decoded now.

        Raises `DataError` where the image is corrupt, KeyError and IndexError where there is none such.
        """


class EpisodeSource(Protocol):
    """A sequence of episodes that share one action space."""

    @property
    def name(self) -> str:
        """Where they are from; for messages."""

    @property
    def rotation_format(self) -> RotationFormat:
        """How the rotations of the actions are written."""

    @property
    def frame(self) -> str:
        """The frame in which translations and rotations are expressed."""

    def __len__(self) -> int:
        """How many episodes there are."""

    def __getitem__(self, index: int) -> Episode:
        """Episode ``index``, from 0. Raises IndexError beyond the last, and `DataError` where it is unreadable."""


@dataclass(frozen=True)
class ArrayEpisode:
    """An episode in memory; ``images`` maps a camera to ``(T, H, W, 3)`` uint8 RGB.

    Raises `DataError` where the arrays disagree on the number of steps, or hold what no action may be.
    """

    identifier: str
    instruction: str
    step_duration: float
    actions: NDArray[np.float64]
    images: Mapping[str, NDArray[np.uint8] | Sequence[NDArray[np.uint8]]] = field(default_factory=dict)
    states: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        check_rows(self.identifier, "actions", self.actions)
        if self.states is not None:
            check_rows(self.identifier, "states", self.states, len(self))
        for camera, images in self.images.items():
            if len(images) != len(self):
                raise DataError(
                    f"episode {self.identifier}: {len(images)} images of camera {camera!r} for {len(self)} actions"
                )

    @property
    def cameras(self) -> tuple[str, ...]:
        """The cameras, in the order of ``images``."""
        return tuple(self.images)

    def __len__(self) -> int:
        return len(self.actions)

    def image(self, camera: str, step: int) -> NDArray[np.uint8]:
        """The ``(H, W, 3)`` RGB pixels at ``step``."""
        return self.images[camera][step]


@dataclass(frozen=True)
class MemorySource:
    """Episodes in memory."""

    name: str
    episodes: Sequence[Episode]
    rotation_format: RotationFormat = "rpy"
    frame: str = "base_link"

    def __len__(self) -> int:
        return len(self.episodes)

    def __getitem__(self, index: int) -> Episode:
        return self.episodes[index]


def check_rows(episode: str, what: str, rows: NDArray[np.float64], length: int | None = None) -> None:
    """Raise `DataError` unless ``rows`` is ``(T, 7)``, finite, with a gripper opening in [0, 1], and T >= 1."""
    if rows.ndim != 2 or rows.shape[1] != ACTION_DIM or not len(rows):
        raise DataError(
            f"episode {episode}: {what} must have the shape (steps, {ACTION_DIM}), they have {rows.shape}"
        )
    if length is not None and len(rows) != length:
        raise DataError(f"episode {episode}: {len(rows)} {what} for {length} actions")
    wrong = np.argwhere(~np.isfinite(rows))
    if len(wrong):
        step, dimension = wrong[0].tolist()
        raise DataError(
            f"episode {episode}, step {step}: number {dimension} of the {what} is {rows[step, dimension]}"
        )
    outside = np.flatnonzero((rows[:, -1] < 0) | (rows[:, -1] > 1))
    if outside.size:
        step = int(outside[0])
        raise DataError(
            f"episode {episode}, step {step}: the gripper opening in {what} is {rows[step, -1]}, not in [0, 1]"
        )
