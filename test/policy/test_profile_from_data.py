from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robovlms_ros.policy.profile_from_data import profile_from_data
from robovlms_ros.policy.robot_profile import RobotProfile, load_profile

Q01 = np.array([-0.021, -0.024, -0.018, -0.06, -0.05, -0.11])
Q99 = np.array([0.023, 0.022, 0.025, 0.06, 0.07, 0.12])


def written(folder: Path, name: str = "my_arm", frame: str = "base_link") -> RobotProfile:
    text = profile_from_data(
        name,
        Q01,
        Q99,
        frame=frame,
        rotation_format="axis_angle",
        step_duration=0.1,
        dataset="kitchen",
        episodes=3,
        steps=200,
    )
    (folder / "arm.yaml").write_text(text)
    return load_profile(folder / "arm.yaml")


def test_a_profile_gives_the_recorded_actions_back(tmp_path: Path) -> None:
    profile = written(tmp_path)
    assert (profile.name, profile.frame, profile.step_duration) == ("my_arm", "base_link", 0.1)
    rows = np.array([[*Q01, 0.0], [*Q99, 1.0]])
    rpy = profile.model_copy(update={"rotation_format": "rpy"})
    normalized = rpy.normalize(rows)
    np.testing.assert_allclose(normalized[:, :6], [[-1] * 6, [1] * 6], atol=1e-6)
    np.testing.assert_allclose(rpy.denormalize(normalized), rows, atol=1e-8)


def test_limits_allow_what_was_recorded_and_little_more(tmp_path: Path) -> None:
    limits = written(tmp_path).limits
    corner = np.maximum(np.abs(Q01), np.abs(Q99))
    for limit, needed in ((limits.translation, corner[:3]), (limits.rotation, corner[3:])):
        assert np.linalg.norm(needed) <= limit <= 1.1 * np.linalg.norm(needed)


@pytest.mark.parametrize("name", ["yes", "a: b", "# none", "null", "1e3", "arm\n\nframe: x"])
def test_names_mean_themselves_in_yaml(tmp_path: Path, name: str) -> None:
    assert written(tmp_path, name, frame=name).name == name


@given(st.floats(1e-9, 10))
def test_limits_are_never_below_the_data(reach: float) -> None:
    q = np.full(6, reach)
    text = profile_from_data(
        "a", -q, q, frame="f", rotation_format="rpy", step_duration=0.1, dataset="d\nx: 1", episodes=1, steps=1
    )
    limit = float(text.split("{translation: ")[1].split(",")[0])
    assert np.linalg.norm(q[:3]) <= limit * (1 + 1e-6)
