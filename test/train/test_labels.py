"""Labels are the inverse of what nodes do with a model's answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from training_sets import CALVIN, make_episode, make_source

from robovlms_ros.data.rotations import rpy_to_axis_angle
from robovlms_ros.model.config_reader import parse_config
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.policy.robot_profile import RobotProfile, load_profile
from robovlms_ros.train.labels import action_labels, check_rate, check_source, recorded_actions

RAW: dict[str, Any] = {
    "robovlm_name": "RoboKosMos",
    "model": "kosmos",
    "vlm": {"pretrained_model_name_or_path": "vlm"},
    "tokenizer": {"pretrained_model_name_or_path": "vlm"},
    "act_head": {"type": "LSTMDecoder"},
    "window_size": 4,
    "fwd_pred_next_n": 3,
    "norm_action": True,
    "norm_min": -0.65,
    "norm_max": 0.65,
}


def bound(robot: str | RobotProfile, **changes: Any) -> RobotProfile:
    profile = load_profile(robot) if isinstance(robot, str) else robot
    return profile.for_model(parse_config(RAW | changes))


def tool_profile(rotation_format: str) -> RobotProfile:
    fields = CALVIN.model_dump() | {"name": "tool", "predicted_in": "tool", "rotation_format": rotation_format}
    return RobotProfile.model_validate(fields | {"units": {}})


RANGES = [{}, {"use_mu_law": True}, {"norm_action": False, "regular_action": True, "x_mean": 0.1, "x_std": 0.5}]
PROFILES = ["calvin", "widowx_bridge", "google_robot", tool_profile("rpy"), tool_profile("axis_angle")]


@pytest.mark.parametrize("changes", RANGES)
@pytest.mark.parametrize("robot", PROFILES, ids=lambda robot: getattr(robot, "name", robot))
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_what_a_node_executes_comes_back_as_the_label(
    robot: str | RobotProfile, changes: dict[str, Any], data: st.DataObject
) -> None:
    profile = bound(robot, **changes)
    numbers = st.lists(st.floats(-0.95, 0.95), min_size=6, max_size=6)
    answers = np.array([[*data.draw(numbers), opening] for opening in (0.0, 1.0)], np.float32)
    turns = st.lists(st.floats(-1.2, 1.2), min_size=6, max_size=6)
    states = np.array([[*data.draw(turns), 0.0] for _ in answers])
    executed = recorded_actions(answers, states, profile)
    labels = action_labels(executed, states, profile.rotation_format, profile)
    np.testing.assert_allclose(labels, answers, atol=2e-4)
    assert labels.dtype == np.float32


def test_a_half_open_gripper_is_open_and_less_is_closed_as_in_the_messages() -> None:
    actions = np.zeros((4, 7))
    actions[:, 6] = 0.0, 0.49, 0.5, 1.0
    labels = action_labels(actions, None, "rpy", bound("calvin"))
    assert labels[:, 6].tolist() == [0, 0, 1, 1]
    assert action_labels(actions, None, "rpy", bound("calvin"), with_gripper=False).shape == (4, 6)


def test_rotations_of_another_format_are_converted() -> None:
    profile = bound("widowx_bridge")
    assert profile.rotation_format == "axis_angle"
    actions = np.array([[0.01, -0.01, 0.02, 0.03, -0.05, 0.06, 1.0]])
    turned = actions.copy()
    turned[:, 3:6] = rpy_to_axis_angle(actions[:, 3:6])
    np.testing.assert_allclose(
        action_labels(actions, None, "rpy", profile), action_labels(turned, None, "axis_angle", profile), atol=1e-6
    )


def test_a_source_in_another_frame_is_refused_unless_it_is_the_same_one() -> None:
    source = make_source(1)
    other = load_profile("widowx_bridge")
    with pytest.raises(ConfigError, match=r"memory: its actions are in frame 'world'.*set data\.frame"):
        check_source(source, other)
    check_source(source, other, other.frame)
    check_source(source, CALVIN)


def test_a_tool_frame_and_another_rotation_format_are_refused() -> None:
    with pytest.raises(ConfigError, match="predicts in the tool's frame"):
        check_source(make_source(1), tool_profile("axis_angle"))


def test_an_episode_of_another_rate_does_not_fit() -> None:
    assert check_rate(make_episode(), CALVIN) == ""
    assert "0.1 s, but 0.03333 s" in check_rate(make_episode(step_duration=0.1), CALVIN)
