"""Control-step wrappers: raw camera frames in, robot actions out, through the public API."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from robovlms_ros.parity.comparison import Comparison
from robovlms_ros.parity.golden import GoldenFolder
from robovlms_ros.policy.preprocess import ImagePreprocessor
from robovlms_ros.policy.robot_profile import load_profile, profile_path
from robovlms_ros.policy.types import Observation
from robovlms_ros.policy.vla_policy import VLAPolicy

INSTRUCTION = "pick up the red block"


@dataclass(frozen=True)
class _Setting:
    """Which model runs for which robot, and what is changed in its configuration and in the robot's profile."""

    model: str
    robot: str = "calvin"
    config: dict[str, Any] = field(default_factory=dict)
    profile: dict[str, Any] = field(default_factory=dict)


_SETTINGS = {
    "calvin_lstm": _Setting("kosmos_lstm"),
    "calvin_fc": _Setting("kosmos_fc"),
    "calvin_discrete": _Setting("kosmos_discrete"),
    "calvin_lstm_nonorm": _Setting("kosmos_lstm", config={"norm_action": False}),
    "calvin_lstm_notraw": _Setting("kosmos_lstm", profile={"predicted_in": "tool"}),
    "simpler_widowx_bridge": _Setting("kosmos_lstm", "widowx_bridge"),
}
_NOT_RUN = {
    "calvin_lstm_pre_BUG_oldest_step": "records upstream's error with `pre` history: it executes the oldest "
    "frame's action. Here it is the newest one's, see `kosmos_lstm_pre`",
}


def compare_wrapper(golden: GoldenFolder, case: str) -> Comparison:
    """One wrapper case: preprocessing, prompt and the actions of an episode, then of another one."""
    found = Comparison(case)
    if case in _NOT_RUN:
        found.not_run = _NOT_RUN[case]
        return found
    setting, values = _SETTINGS[case], golden.arrays("wrappers")
    policy = _policy(golden, setting)
    if f"{case}__image_x" in values:
        model = policy.model
        exact = ImagePreprocessor(model.config.image_size, model.image_mean, model.image_std, "exact")
        pixels = exact([values["static"][0], values["gripper"][0]])
        found.close("preprocessing", pixels[:1], values[f"{case}__image_x"][0])
        found.close("preprocessing", pixels[1:], values[f"{case}__gripper_x"][0])
    if f"{case}__text" in values:
        found.equal("token ids", policy.model.encode_text(INSTRUCTION), values[f"{case}__text"])
    if case == "simpler_widowx_bridge":
        _compare_actions(found, policy, values, values[f"{case}__env"])
        raw = _Setting(setting.model, setting.robot, profile={"rotation_format": "rpy", "gripper": {}})
        _compare_actions(found, _policy(golden, raw), values, _signed(values[f"{case}__raw"]), "raw actions")
        _compare_gripper(found, values[f"{case}__gripper_in"], values[f"{case}__gripper_out"])
    else:
        _compare_actions(found, policy, values, values[f"{case}__actions"])
    return found


def _policy(golden: GoldenFolder, setting: _Setting) -> VLAPolicy:
    """The model as a user loads it: from a configuration, a checkpoint and a robot profile on disk."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        content = json.loads(golden.config_path(setting.model).read_text(encoding="utf-8")) | setting.config
        (folder / "config.json").write_text(json.dumps(content), encoding="utf-8")
        torch.save({"state_dict": golden.state_dict(setting.model)}, folder / "model.pt")
        profile = yaml.safe_load(profile_path(setting.robot).read_text(encoding="utf-8")) | setting.profile
        (folder / "robot.yaml").write_text(yaml.safe_dump(profile), encoding="utf-8")
        files = folder / "config.json", folder / "model.pt"
        return VLAPolicy.from_upstream(
            *files, vlm_dir=golden.path, robot=str(folder / "robot.yaml"), preprocess="exact"
        )


def _compare_actions(
    found: Comparison, policy: VLAPolicy, values: Any, expected: NDArray[np.float64], what: str = "actions"
) -> None:
    """Frames 0, 1, ... of an episode; where upstream went on to a second one, frame 2 is its first."""
    session, frames = policy.session(), min(len(expected), len(values["static"]))
    actions = [session.step(_look(values, frame)).actions[0] for frame in range(frames)]
    if len(expected) > frames:
        session.reset()
        actions.append(session.step(_look(values, 2)).actions[0])
    rows = np.stack(actions)
    found.close(what, rows[:, :6], expected[:, :6])
    found.equal("gripper", rows[:, 6] * 2 - 1, expected[:, 6])


def _look(values: Any, frame: int) -> Observation:
    images = {"static": values["static"][frame], "hand": values["gripper"][frame]}
    return Observation(images, INSTRUCTION, state=values["robot_obs"][frame])


def _signed(raw: NDArray[np.float64]) -> NDArray[np.float64]:
    """Upstream's raw actions have the gripper in {0, 1}."""
    return np.concatenate([raw[:, :6], raw[:, 6:] * 2 - 1], axis=1)


def _compare_gripper(found: Comparison, answers: NDArray[np.float64], expected: NDArray[np.float64]) -> None:
    gripper = load_profile("widowx_bridge").gripper.make()
    found.equal("gripper machine", [gripper.step(answer > 0.5) * 2 - 1 for answer in answers], expected)
