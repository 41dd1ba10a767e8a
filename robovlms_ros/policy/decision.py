"""What a control step takes and gives: settings, requests, actions, and the reasons for giving none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.policy.chunk_settings import ChunkSettings
from robovlms_ros.policy.frames import FrameSet
from robovlms_ros.policy.safety import Limits
from robovlms_ros.policy.types import HistoryWindow


class Profile(Protocol):
    """What a controller needs of a robot profile: changes of units, and of frames where the tool's is used."""

    @property
    def step_duration(self) -> float:
        """Nominal time of one action in seconds."""

    def to_si(self, actions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn ``(N, 7)`` actions of a policy into metres, radians and gripper opening."""

    def from_si(self, actions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Invert ``to_si``."""

    def normalize(
        self, actions: NDArray[np.float64], orientation: NDArray[np.float64] | None = None
    ) -> NDArray[np.float32]:
        """Turn ``(N, 7)`` actions of a policy into the model's normalised space."""

    def orientation(self, state: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
        """Return what ``normalize`` needs of an observation's state; None where it needs nothing."""


class Hold(Enum):
    """Why a step gave no action. The value reads as a state in diagnostics and logs."""

    NO_CLOCK = "waiting for clock"
    DISABLED = "disabled"
    NO_INSTRUCTION = "waiting for an instruction"
    STOPPED = "stopped: the instruction is empty"
    UNHEARD = "stopped: the instruction was not repeated within instruction.max_age"
    SPENT = "all steps of the goal are done"
    NO_FRAME = "waiting for images"
    UNMATCHED = "camera stamps differ by more than the slop"
    NOT_DUE = "ahead of the rate"
    NO_STATE = "no state of the robot within state.max_age of the image"
    NO_HISTORY = "waiting for the action history"
    NO_POSE = "the workspace is not held: no tool pose within state.max_age"
    STALE = "image too old"
    INFERRING = "waiting for the model"
    OBSOLETE = "superseded during inference"
    NOT_FINITE = "the action to publish is not finite"
    HUNG = "the inference hung: its answer is too old to be executed"
    EXECUTING = "executing a chunk"
    LATE = "the chunk came so late that all its actions are past"
    STARVED = "waiting for the next chunk"


INTENDED = frozenset({Hold.DISABLED, Hold.NO_INSTRUCTION, Hold.STOPPED, Hold.SPENT, Hold.NOT_DUE})
"""Somebody wants it so; nothing is wrong."""
AWAITS_STATE = (Hold.NO_STATE, Hold.NO_POSE)
"""Held images go on when the robot's state comes."""
ACTING = "acting"
"""The state in which there is no Hold."""


@dataclass(frozen=True)
class ControlSettings:
    """What may change between two steps; replaced as a whole."""

    max_age_ns: int = 500_000_000
    future_tolerance_ns: int = 200_000_000
    rate: float = 0.0
    """Actions per second. Paced by images it is the most, 0 = one for each; with overlap 0 = the profile's."""
    chunk: ChunkSettings = field(default_factory=ChunkSettings)
    limits: Limits = field(default_factory=Limits)
    watchdog_ns: int = 1_000_000_000
    """Time without a new action after which the arm is stopped once; 0 = never."""
    inference_timeout_ns: int = 0
    """Time after which an inference has hung: its answer is thrown away; 0 = never."""
    max_failures: int = 5
    instruction_max_age_ns: int = 0
    """Time within which the instruction must be heard again, or the arm is stopped; 0 = never."""
    history_wait_ns: int = 0
    """Time after an action for which images wait until it is in the history; 0 = they do not wait."""
    enabled: bool = True


@dataclass(frozen=True)
class Request:
    """Everything that one inference needs, taken at one moment.

    ``generation`` changes where results on their way become obsolete, ``interruption`` where a session that works
    through a chunk must not go on with it. ``waited_ns`` is the age of the images at that moment.
    """

    episode: int
    chosen: FrameSet
    instruction: str
    history: HistoryWindow
    execute_horizon: int
    state: NDArray[np.float64] | None = None
    generation: int = 0
    interruption: int = 0
    waited_ns: int = 0

    def continued_by(self, later: Request) -> bool:
        """Whether the session that answered this may answer ``later`` as its next step."""
        queue_kept = self.execute_horizon == 1 or self.interruption == later.interruption
        return self.episode == later.episode and self.execute_horizon == later.execute_horizon and queue_kept


@dataclass(frozen=True)
class LimitedChunk:
    """A whole predicted chunk after limits: ``(N, 7)`` actions, in SI and normalised, ``(N,)`` saturated bits."""

    actions: NDArray[np.float64]
    normalized: NDArray[np.float32]
    saturated: NDArray[np.uint32]


@dataclass(frozen=True)
class Action:
    """One action that may be published: ``action`` in metres, radians and gripper opening, after limits.

    ``normalized`` is the same as the model would have said it. ``chunk`` is there only where the model has just
    run; ``stop`` marks an action that no image asked for: no motion, gripper held, stamped now.
    """

    stamp_ns: int
    episode: int
    sequence: int
    instruction: str
    action: NDArray[np.float64]
    normalized: NDArray[np.float32]
    saturated: int = 0
    step_index: int = 0
    chunk_size: int = 1
    chunk: LimitedChunk | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    stop: bool = False
