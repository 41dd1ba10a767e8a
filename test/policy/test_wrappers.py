"""From raw camera frames to robot actions through the public API: what upstream's control-step wrappers give."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import golden_cases
import numpy as np
import pytest
import torch
import yaml

from robovlms_ros.data.rotations import matrix_to_rpy, rpy_to_matrix
from robovlms_ros.model.errors import ObservationError
from robovlms_ros.policy import Observation, VLAPolicy
from robovlms_ros.policy.robot_profile import load_profile, profile_path

WRAPPERS = golden_cases.arrays("wrappers")
TOLERANCE = 1e-5


def look(frame: int) -> Observation:
    return Observation(
        images={"static": WRAPPERS["static"][frame], "hand": WRAPPERS["gripper"][frame]},
        instruction="pick up the red block",
        state=WRAPPERS["robot_obs"][frame],
    )


@pytest.fixture
def policy_of(tmp_path: Path) -> Callable[..., VLAPolicy]:
    """Loads a golden model as a user would: from files, for a robot, with changes to its configuration."""

    def load(case: str, robot: str | Path = "calvin", **changes: Any) -> VLAPolicy:
        config = json.loads(golden_cases.config_path(case).read_text()) | changes
        (tmp_path / "config.json").write_text(json.dumps(config))
        torch.save({"state_dict": golden_cases.state_dict(case)}, tmp_path / "model.pt")
        files = tmp_path / "config.json", tmp_path / "model.pt"
        return VLAPolicy.from_upstream(*files, vlm_dir=golden_cases.FOLDER, robot=str(robot), preprocess="exact")

    return load


def changed_profile(path: Path, robot: str, **changes: object) -> Path:
    path.write_text(yaml.safe_dump(yaml.safe_load(profile_path(robot).read_text()) | changes))
    return path


def first_actions(policy: VLAPolicy, frames: int) -> np.ndarray:
    """The executed action of frames 0, 1, ...; then, after a reset, of frame 2."""
    session = policy.session()
    actions = [session.step(look(frame)).actions[0] for frame in range(frames)]
    session.reset()
    return np.stack([*actions, session.step(look(2)).actions[0]])


def assert_matches(actions: np.ndarray, expected: np.ndarray) -> None:
    """Poses within the tolerance, the sign of the gripper exact."""
    np.testing.assert_allclose(actions[:, :6], expected[:, :6], rtol=0, atol=TOLERANCE)
    np.testing.assert_array_equal(actions[:, 6] * 2 - 1, np.sign(expected[:, 6]))


@pytest.mark.parametrize("head", ["lstm", "fc"])
def test_calvin(policy_of: Callable[..., VLAPolicy], head: str) -> None:
    assert_matches(first_actions(policy_of(f"kosmos_{head}"), 8), WRAPPERS[f"calvin_{head}__actions"])


def test_calvin_without_action_normalisation(policy_of: Callable[..., VLAPolicy]) -> None:
    policy = policy_of("kosmos_lstm", norm_action=False)
    assert_matches(first_actions(policy, 8), WRAPPERS["calvin_lstm_nonorm__actions"])


def test_calvin_discrete(policy_of: Callable[..., VLAPolicy]) -> None:
    actions = first_actions(policy_of("kosmos_discrete"), 3)[:3]
    assert_matches(actions, WRAPPERS["calvin_discrete__actions"])


def test_calvin_with_motions_predicted_in_the_tools_frame(
    policy_of: Callable[..., VLAPolicy], tmp_path: Path
) -> None:
    profile = changed_profile(tmp_path / "tool.yaml", "calvin", predicted_in="tool")
    policy = policy_of("kosmos_lstm", profile)
    assert_matches(first_actions(policy, 8), WRAPPERS["calvin_lstm_notraw__actions"])


def test_motions_of_the_tool_need_its_pose_and_a_session_survives_without(
    policy_of: Callable[..., VLAPolicy], tmp_path: Path
) -> None:
    policy = policy_of("kosmos_lstm", changed_profile(tmp_path / "tool.yaml", "calvin", predicted_in="tool"))
    session, other = policy.session(), policy.session()
    expected = [session.step(look(frame)).actions for frame in range(2)]
    actions = [other.step(look(0)).actions]
    for state in (None, np.zeros(5), np.full(15, np.nan)):
        with pytest.raises(ObservationError, match="every observation needs a state"):
            other.step(Observation(look(1).images, look(1).instruction, state))
    actions.append(other.step(look(1)).actions)
    np.testing.assert_array_equal(actions, expected)


def test_widowx_before_and_after_the_rotation_and_the_gripper(
    policy_of: Callable[..., VLAPolicy], tmp_path: Path
) -> None:
    assert_matches(
        first_actions(policy_of("kosmos_lstm", "widowx_bridge"), 8)[:8], WRAPPERS["simpler_widowx_bridge__env"]
    )
    raw = changed_profile(tmp_path / "raw.yaml", "widowx_bridge", rotation_format="rpy", gripper={})
    actions = first_actions(policy_of("kosmos_lstm", raw), 8)[:8]
    expected = WRAPPERS["simpler_widowx_bridge__raw"]
    np.testing.assert_allclose(actions[:, :6], expected[:, :6], rtol=0, atol=TOLERANCE)
    np.testing.assert_array_equal(actions[:, 6], expected[:, 6])


def test_google_robot_follows_the_formula(policy_of: Callable[..., VLAPolicy]) -> None:
    # No vector exists: from the CALVIN wrapper's actions on by hand, rotations as matrices.
    calvin = WRAPPERS["calvin_lstm__actions"][:8]
    statistics = load_profile("google_robot").statistics
    assert statistics is not None
    low, high = np.array(statistics.q01), np.array(statistics.q99)
    raw = 0.5 * (calvin[:, :6] + 1) * (high - low) + low
    actions = first_actions(policy_of("kosmos_lstm", "google_robot"), 8)[:8]
    np.testing.assert_allclose(actions[:, :3], raw[:, :3], rtol=0, atol=TOLERANCE)
    for rotation, rpy in zip(actions[:, 3:6], raw[:, 3:], strict=True):
        np.testing.assert_allclose(matrix_of_axis_angle(rotation), rpy_to_matrix(rpy), rtol=0, atol=TOLERANCE)
    # The answer is "open" throughout, so no change ever commands the gripper: it stays as it was, open.
    np.testing.assert_array_equal(actions[:, 6], 1)


def matrix_of_axis_angle(rotation: np.ndarray) -> np.ndarray:
    """Rodrigues' formula."""
    angle = np.linalg.norm(rotation)
    x, y, z = rotation / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


@pytest.mark.parametrize("rotation_format", ["rpy", "axis_angle"])
def test_a_motion_of_the_tool_moves_it_to_the_same_place(rotation_format: str, tmp_path: Path) -> None:
    profile = load_profile(
        changed_profile(tmp_path / "tool.yaml", "calvin", predicted_in="tool", rotation_format=rotation_format)
    )
    orientation = np.array([0.3, -0.2, 2.0])
    predicted = np.array([[0.01, -0.02, 0.03, 0.05, -0.1, 0.2, 1.0]], np.float32)
    motion = profile.to_si(profile.denormalize(predicted, orientation))[0]
    before = rpy_to_matrix(orientation)
    after = before @ rpy_to_matrix(predicted[0, 3:6])
    np.testing.assert_allclose(motion[:3], before @ predicted[0, :3], atol=1e-7)
    if rotation_format == "rpy":
        np.testing.assert_allclose(motion[3:6], matrix_to_rpy(after) - orientation, atol=1e-7)
    else:
        np.testing.assert_allclose(matrix_of_axis_angle(motion[3:6]) @ before, after, atol=1e-7)
    back = profile.normalize(profile.denormalize(predicted, orientation), orientation)
    np.testing.assert_allclose(back, predicted, atol=1e-6)
