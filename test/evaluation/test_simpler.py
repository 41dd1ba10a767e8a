"""SimplerEnv without SimplerEnv: an environment that shows the frames of the vectors and notes what it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import golden_cases
import numpy as np
import pytest

from robovlms_ros.evaluation.environment import run_seed
from robovlms_ros.evaluation.errors import EvaluationError
from robovlms_ros.evaluation.simpler import (
    GoogleRobotCommander,
    SimplerEnvironment,
    WidowXCommander,
    commander,
    make_environment,
)
from robovlms_ros.policy import ActionChunk, VLAPolicy

WRAPPERS = golden_cases.arrays("wrappers")


class Maniskill:
    """Truncates after ``length`` steps; done in those that ``solved`` names."""

    def __init__(self, length: int = 8, solved: tuple[int, ...] = ()) -> None:
        self.actions: list[np.ndarray] = []
        self.options: dict[str, Any] = {}
        self.part = 0
        self.drawer_opens_at = length + 1
        self._length, self._solved = length, solved

    def reset(self, options: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.options = options
        return 0, {}

    def step(self, action: np.ndarray) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self.actions.append(action)
        steps = len(self.actions)
        info = {"episode_stats": {"is_drawer_open": steps >= self.drawer_opens_at}}
        return steps, 0.0, steps in self._solved, steps >= self._length, info

    def get_language_instruction(self) -> str:
        return ("pick up the red block", "put it into the drawer")[self.part]

    def is_final_subtask(self) -> bool:
        return self.part == 1 or self.drawer_opens_at > self._length

    def advance_to_next_subtask(self) -> None:
        self.part += 1


def image_of(env: Maniskill, observation: int) -> Any:
    return WRAPPERS["static"][observation % len(WRAPPERS["static"])]


class WithHand(SimplerEnvironment):
    """The vectors were made with a hand camera, which SimplerEnv has not."""

    def _look(self, observation: Any) -> Any:
        seen = super()._look(observation)
        hand = WRAPPERS["gripper"][observation % len(WRAPPERS["gripper"])]
        return type(seen)({**seen.images, "hand": hand}, seen.instruction)


def test_the_widowx_is_told_what_upstreams_wrapper_tells_it(golden_policy: Callable[..., VLAPolicy]) -> None:
    env = Maniskill()
    policy = golden_policy("kosmos_lstm", "widowx_bridge")
    run_seed(policy.session(), WithHand(env, image_of), commander("widowx_bridge"), 3, 60)
    expected = WRAPPERS["simpler_widowx_bridge__env"]
    actions = np.array(env.actions)
    assert env.options == {"obj_init_options": {"episode_id": 3}}
    np.testing.assert_allclose(actions[:, :6], expected[:, :6], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(actions[:, 6], expected[:, 6])


def test_the_google_robots_gripper_is_told_of_changes_twice() -> None:
    # robovlms.md, section 6.3.
    answers, told = [0, 0, 1, 0, 1, 1, 0], [0, 0, -2, -2, -2, -2, 2]
    command = GoogleRobotCommander()
    for _ in range(2):
        command.reset()
        rows = [np.array([[0, 0, 0, 0, 0, 0, answer]], np.float32) for answer in answers]
        found = [command.action(ActionChunk(row, row.astype(np.float64)))[-1] for row in rows]
        assert found == told


def test_the_openings_sign_is_the_widowxs_command() -> None:
    chunk = ActionChunk(np.zeros((1, 7), np.float32), np.array([[1, 2, 3, 4, 5, 6, 0.0]]))
    np.testing.assert_array_equal(WidowXCommander().action(chunk), [1, 2, 3, 4, 5, 6, -1])
    assert chunk.actions[0, -1] == 0


@pytest.mark.parametrize(("solved", "success"), [((8,), True), ((3, 4), False), ((3, 8), True)])
def test_success_is_what_lasts_to_the_end(
    golden_policy: Callable[..., VLAPolicy], solved: tuple[int, ...], success: bool
) -> None:
    policy = golden_policy("kosmos_fc", "widowx_bridge")
    found = run_seed(
        policy.session(), WithHand(Maniskill(solved=solved), image_of), commander("widowx_bridge"), 0, 60
    )
    assert (found.succeeded, found.steps) == (success, 8)


def test_a_long_task_goes_on_to_its_next_part_when_the_drawer_is_open() -> None:
    env = Maniskill()
    env.drawer_opens_at = 2
    environment = SimplerEnvironment(env, image_of)
    assert environment.reset(0).instruction == "pick up the red block"
    action = np.zeros(7)
    told = [environment.step(action).instruction for _ in range(3)]
    assert told == ["pick up the red block", "put it into the drawer", "put it into the drawer"]


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(EvaluationError, match="packed for the robot 'calvin'"):
        commander("calvin")
    with pytest.raises(EvaluationError, match="SimplerEnv cannot be imported"):
        make_environment("widowx_spoon_on_towel")
