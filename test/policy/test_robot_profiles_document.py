"""What docs/robot-profiles.md shows is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import golden_cases
import numpy as np
import pytest

from robovlms_ros.model.config_reader import read_config
from robovlms_ros.policy.robot_profile import GripperProfile, RobotProfile, load_profile

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "robot-profiles.md").read_text(encoding="utf-8")


@pytest.fixture
def example(tmp_path: Path) -> RobotProfile:
    match = re.search(r"```yaml\n(.+?)```", DOCUMENT, re.DOTALL)
    assert match is not None
    (tmp_path / "my_arm.yaml").write_text(match[1])
    return load_profile(tmp_path / "my_arm.yaml")


def test_the_worked_example_loads_and_spans_its_statistics(example: RobotProfile) -> None:
    config = read_config(golden_cases.config_path("kosmos_lstm")).model_copy(update={"norm_action": False})
    actions = example.for_model(config).denormalize(np.array([[-1.0] * 7, [1.0] * 7], np.float32))
    assert example.statistics is not None
    np.testing.assert_allclose(
        actions[:, :3], [example.statistics.q01[:3], example.statistics.q99[:3]], atol=1e-12
    )
    assert np.linalg.norm(actions[:, :3], axis=1).max() <= example.limits.translation
    assert np.linalg.norm(actions[:, 3:6], axis=1).max() <= example.limits.rotation


@pytest.mark.parametrize("machine", ["threshold", "consecutive", "sticky"])
def test_the_gripper_traces_are_right(machine: str) -> None:
    answers = re.search(r"Answers ([01 ]+?) give", DOCUMENT)
    shown = re.search(rf"^{machine} +((?:[01] )+[01])", DOCUMENT, re.MULTILINE)
    assert answers is not None
    assert shown is not None
    gripper = GripperProfile.model_validate({"machine": machine}).make()
    openings = [gripper.step(answer == "1") for answer in answers[1].split()]
    assert openings == [float(opening) for opening in shown[1].split()]


def test_every_key_and_every_machine_is_described() -> None:
    for key in (*RobotProfile.model_fields, *GripperProfile.model_fields):
        assert re.search(rf"\b{key}\b", DOCUMENT), key
