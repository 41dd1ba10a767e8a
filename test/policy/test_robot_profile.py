"""Robot profiles: from normalised numbers to a robot's and back."""

from __future__ import annotations

from pathlib import Path

import golden_cases
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robovlms_ros.model.config import RoboVLMConfig
from robovlms_ros.model.config_reader import read_config
from robovlms_ros.model.errors import ProfileError
from robovlms_ros.policy.robot_profile import RobotProfile, load_profile

PUBLISHED = ("calvin", "widowx_bridge", "google_robot")
ROBOTS = (*PUBLISHED, "tabletop")
EDGES = np.array([[-1.0] * 7, [0.0] * 7, [1.0] * 7], np.float32)


def bound(robot: str, **changes: object) -> RobotProfile:
    config = read_config(golden_cases.config_path("kosmos_lstm"))
    return load_profile(robot).for_model(RoboVLMConfig.model_validate(config.model_dump() | changes))


def written(path: Path, **changes: object) -> Path:
    content = {
        "name": "mine",
        "frame": "base",
        "rotation_format": "rpy",
        "step_duration": 0.1,
        "limits": {"translation": 0.1, "rotation": 0.2},
    }
    path.write_text(yaml.safe_dump(content | changes))
    return path


def test_calvin_spans_the_training_range() -> None:
    actions = bound("calvin").denormalize(EDGES)
    np.testing.assert_allclose(actions[:, :6], np.array([[-0.65], [0], [0.65]]) * np.ones(6), atol=1e-12)


def test_calvin_units_are_two_centimetres_and_a_twentieth_of_a_radian() -> None:
    profile = bound("calvin")
    metric = profile.to_si(profile.denormalize(EDGES))
    np.testing.assert_allclose(metric[2], [0.013] * 3 + [0.0325] * 3 + [1], atol=1e-12)
    np.testing.assert_allclose(profile.from_si(metric), profile.denormalize(EDGES), atol=1e-12)


def test_quantile_robots_span_their_quantiles() -> None:
    profile = bound("widowx_bridge", norm_action=False)
    statistics = profile.statistics
    assert statistics is not None
    actions = profile.denormalize(EDGES)
    np.testing.assert_allclose(actions[0, :3], statistics.q01[:3], atol=1e-12)
    np.testing.assert_allclose(actions[2, :3], statistics.q99[:3], atol=1e-12)
    np.testing.assert_array_equal(profile.to_si(actions), actions)


def test_the_widowx_wrapper_vectors_turn_from_rpy_to_axis_angle() -> None:
    wrappers = golden_cases.arrays("wrappers")
    raw, expected = wrappers["simpler_widowx_bridge__raw"], wrappers["simpler_widowx_bridge__env"]
    profile = load_profile("widowx_bridge")
    statistics = profile.statistics
    assert statistics is not None
    low, high = np.array(statistics.q01), np.array(statistics.q99)
    normalized = np.concatenate([2 * (raw[:, :6] - low) / (high - low) - 1, raw[:, 6:]], axis=1)
    np.testing.assert_allclose(profile.denormalize(normalized)[:, :6], expected[:, :6], rtol=0, atol=1e-9)


@pytest.mark.parametrize("robot", ROBOTS)
@given(normalized=arrays(np.float32, (3, 7), elements=st.floats(-1, 1, width=32)))
def test_normalizing_inverts_denormalizing(robot: str, normalized: np.ndarray) -> None:
    profile = bound(robot)
    np.testing.assert_allclose(profile.normalize(profile.denormalize(normalized)), normalized, atol=1e-5)


@pytest.mark.parametrize("robot", ROBOTS)
@pytest.mark.parametrize("changes", [{"use_mu_law": True}, {"regular_action": True, "x_mean": 0.1, "x_std": 0.5}])
def test_the_models_other_stages_are_inverted_too(robot: str, changes: dict[str, object]) -> None:
    profile = bound(robot, **changes)
    normalized = np.linspace(-1, 1, 35, dtype=np.float32).reshape(5, 7)
    np.testing.assert_allclose(profile.normalize(profile.denormalize(normalized)), normalized, atol=1e-5)


@pytest.mark.parametrize("robot", PUBLISHED)
def test_no_action_of_a_published_model_exceeds_its_robots_limits(robot: str) -> None:
    profile = bound(robot)
    corners = np.array(np.meshgrid(*[[-1.0, 1.0]] * 6), np.float32).reshape(6, -1).T
    actions = profile.to_si(profile.denormalize(np.pad(corners, ((0, 0), (0, 1)))))
    assert np.linalg.norm(actions[:, :3], axis=1).max() <= profile.limits.translation
    assert np.linalg.norm(actions[:, 3:6], axis=1).max() <= profile.limits.rotation


def test_beyond_the_range_normalizing_clips() -> None:
    profile = bound("calvin")
    np.testing.assert_array_equal(profile.normalize(np.full((1, 7), 5.0))[:, :6], np.ones((1, 6)))


def test_your_own_profile_is_read_from_its_path(tmp_path: Path) -> None:
    assert load_profile(written(tmp_path / "mine.yaml")).name == "mine"


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"frame": ""}, "frame"),
        ({"rotation_format": "quaternion"}, "rotation_format"),
        ({"step_duration": 0}, "step_duration"),
        ({"step_duration": float("nan")}, "step_duration"),
        ({"limits": {"translation": -1, "rotation": 1}}, "limits.translation"),
        ({"gripper": {"machine": "magnet"}}, "gripper.machine"),
        ({"colour": "red"}, "colour"),
        ({"statistics": {"q01": [0.0] * 6, "q99": [0.0] * 6}}, "statistics"),
        ({"statistics": {"q01": [0.0] * 5, "q99": [1.0] * 5}}, "profile: .*statistics need 6"),
        ({"workspace": {"min": [0.0] * 3, "max": [0.0] * 3}}, "workspace"),
        ({"predicted_in": "elsewhere"}, "predicted_in"),
        ({"statistics": {"q01": [0.0] * 6, "q99": [1.0] * 5}}, "statistics.*same length"),
        ({"statistics": {"q01": [0.0] * 7, "q99": [1.0] * 7}}, "profile.*statistics need 6 numbers"),
        ({"statistics": {"q01": [0.0] * 6, "q99": [1.0] * 5 + [float("nan")]}}, "statistics.q99.5.*finite"),
        ({"statistics": {"q01": [0.0] * 6, "q99": [1.0, 1, 1, 1, 0, 1]}}, r"statistics.*number 4 \(from 0\)"),
        ({"dimensions": ["speed"], "predicted_in": "tool"}, "profile.*no tool"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, changes: dict[str, object], key: str) -> None:
    with pytest.raises(ProfileError, match=f"mine.yaml: {key}.*correct these keys"):
        load_profile(written(tmp_path / "mine.yaml", **changes))


@pytest.mark.parametrize("content", ["- a\n- b\n", "name: [unclosed", ""])
def test_a_file_that_is_no_profile_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(ProfileError, match="robot profile"):
        load_profile(path)


def test_a_model_of_another_action_space_is_refused() -> None:
    config = read_config(golden_cases.config_path("kosmos_lstm"))
    act_head = {"type": "LSTMDecoder", "action_dim": 2}
    config = RoboVLMConfig.model_validate(config.model_dump() | {"act_head": act_head})
    with pytest.raises(ProfileError, match="predicts 2 numbers"):
        load_profile("calvin").for_model(config)
    with pytest.raises(ProfileError, match="tcp_rel"):
        bound("calvin", tcp_rel=True)


def test_binding_leaves_the_profile_as_it_was() -> None:
    profile = load_profile("calvin")
    before = profile.denormalize(EDGES)
    profile.for_model(read_config(golden_cases.config_path("kosmos_lstm")))
    np.testing.assert_array_equal(profile.denormalize(EDGES), before)


def test_a_model_whose_range_is_empty_is_refused() -> None:
    with pytest.raises(ProfileError, match=r"norm_min is 0\.65 and norm_max 0\.65"):
        bound("calvin", norm_min=0.65)


def test_actions_of_another_width_are_refused() -> None:
    profile = bound("calvin")
    for turn in (profile.denormalize, profile.normalize):
        with pytest.raises(ProfileError, match="actions have 5 numbers"):
            turn(np.zeros((1, 5), np.float32))


def test_a_tools_motion_is_not_turned_without_its_orientation(tmp_path: Path) -> None:
    profile = load_profile(written(tmp_path / "mine.yaml", predicted_in="tool"))
    with pytest.raises(ProfileError, match="orientation"):
        profile.denormalize(EDGES)
