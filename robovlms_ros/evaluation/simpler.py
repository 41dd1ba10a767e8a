"""SimplerEnv, where it is installed: its environments, and the actions that they take (robovlms.md, 6.3)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.evaluation.errors import EvaluationError
from robovlms_ros.policy.gripper import StickyGripper
from robovlms_ros.policy.types import ActionChunk, Observation

# Steps per episode upstream allows where a task is not named: WidowX, Google robot.
MAX_STEPS = {"widowx_bridge": 60, "google_robot": 80}


class WidowXCommander:
    """Metres, axis-angle, and the gripper as -1 = close, 1 = open. Its delay is the robot profile's."""

    def reset(self) -> None:
        """The profile's gripper, in the session, remembers; nothing does here."""

    def action(self, chunk: ActionChunk) -> NDArray[np.float64]:
        """Return row 0 as the environment takes it."""
        action = np.array(chunk.actions[0])
        action[-1] = 2 * action[-1] - 1
        return action


class GoogleRobotCommander:
    """Metres, axis-angle, and a relative gripper command: a change of the model's answer, for two steps.

    A repeated "open" to an open gripper cannot be told from a pause by the opening that a chunk has, so the state
    machine of the profile runs here once more, on the model's answers.
    """

    def __init__(self, hold_steps: int = 2) -> None:
        self._hold_steps = hold_steps
        self.reset()

    def reset(self) -> None:
        """Forget the last answer."""
        self._gripper = StickyGripper(self._hold_steps)

    def action(self, chunk: ActionChunk) -> NDArray[np.float64]:
        """Return row 0 as the environment takes it."""
        action = np.array(chunk.actions[0])
        self._gripper.step(bool(chunk.normalized[0, -1] > 0.5))
        action[-1] = self._gripper.relative
        return action


def commander(robot: str) -> WidowXCommander | GoogleRobotCommander:
    """The commander of a robot profile's name. Raises `EvaluationError` for one that SimplerEnv has not."""
    makers: Mapping[str, Callable[[], WidowXCommander | GoogleRobotCommander]] = {
        "widowx_bridge": WidowXCommander,
        "google_robot": GoogleRobotCommander,
    }
    if robot not in makers:
        raise EvaluationError(
            f"the model was packed for the robot {robot!r}, and SimplerEnv has {' and '.join(makers)}; pack it "
            "with one of these as --robot"
        )
    return makers[robot]()


class SimplerEnvironment:
    """A task of SimplerEnv as an `Environment`; a seed is one of its object layouts (``episode_id``).

    ``env`` is what ``simpler_env.make(task)`` gives and ``image_of(env, observation)`` its camera's picture. A
    long task that announces its next part is advanced as upstream does, once its drawer is open.
    """

    def __init__(self, env: Any, image_of: Callable[[Any, Any], NDArray[np.uint8]]) -> None:
        self._env = env
        self._image_of = image_of
        self.succeeded = False
        self.finished = False

    def reset(self, seed: int) -> Observation:
        """Lay the objects out and look."""
        self.succeeded = self.finished = False
        options = {"obj_init_options": {"episode_id": seed}}
        return self._look(self._env.reset(options=options)[0])

    def step(self, action: NDArray[np.float64]) -> Observation:
        """Execute one action of a commander of this module."""
        observation, _, done, truncated, info = self._env.step(action)
        # Success ends nothing: what counts is the state after the last step, so that an object that rolls away
        # from where it was put is none.
        self.succeeded, self.finished = bool(done), bool(truncated)
        if not self._env.is_final_subtask() and info.get("episode_stats", {}).get("is_drawer_open"):
            self._env.advance_to_next_subtask()
        return self._look(observation)

    def _look(self, observation: Any) -> Observation:
        image = np.ascontiguousarray(self._image_of(self._env, observation))
        return Observation({"static": image, "hand": None}, str(self._env.get_language_instruction()))


def make_environment(task: str) -> SimplerEnvironment:
    """Make one of SimplerEnv's tasks by its name. Raises `EvaluationError` where SimplerEnv is not installed."""
    try:
        simpler_env = importlib.import_module("simpler_env")
        observation_utils = importlib.import_module("simpler_env.utils.env.observation_utils")
    except ImportError as error:
        raise EvaluationError(
            f"SimplerEnv cannot be imported ({error}); install it: https://github.com/simpler-env/SimplerEnv"
        ) from error
    known = list(getattr(simpler_env, "ENVIRONMENTS", []))
    if known and task not in known:
        raise EvaluationError(f"SimplerEnv has no task {task!r}; it has {', '.join(sorted(known))}")
    return SimplerEnvironment(simpler_env.make(task), observation_utils.get_image_from_maniskill2_obs_dict)
