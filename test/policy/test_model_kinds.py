"""Sessions with every kind of model: other heads and histories, other robots, the robot's own state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import golden_cases
import numpy as np
import pytest
import yaml
from reference import Frame, decide, golden_model, make_model

from robovlms_ros.model.errors import ConfigError, ObservationError, ProfileError
from robovlms_ros.policy import HistoryWindow, Observation, VLAPolicy
from robovlms_ros.policy.robot_profile import RobotProfile, load_profile

WRAPPERS = golden_cases.arrays("wrappers")
INSTRUCTION = "pick up the red block"


def look(frame: int, **changes: Any) -> Observation:
    images = {"static": WRAPPERS["static"][frame], "hand": WRAPPERS["gripper"][frame]}
    return Observation(images=images, instruction=INSTRUCTION, **changes)


def test_with_history_before_the_prompt_the_newest_frame_is_answered() -> None:
    session = VLAPolicy(golden_model("kosmos_lstm_pre"), load_profile("calvin"), preprocess="exact").session()
    actions = np.stack([session.step(look(frame)).actions[0] for frame in range(8)])
    oldest = WRAPPERS["calvin_lstm_pre_BUG_oldest_step__actions"]
    # Upstream answers for the oldest frame of the window of 4: its first action is also ours, repeated.
    np.testing.assert_allclose(actions[0, :6], oldest[0, :6], rtol=0, atol=1e-5)
    np.testing.assert_allclose(oldest[1:4, :6], oldest[:3, :6], rtol=0, atol=1e-5)
    assert (np.abs(np.diff(actions[:4, :6], axis=0)).max(axis=1) > 1e-4).all()


def profile(**changes: Any) -> RobotProfile:
    raw = yaml.safe_load((Path(__file__).parents[2] / "config" / "robots" / "calvin.yaml").read_text())
    plain = {"units": {"translation": 1.0, "rotation": 1.0}}
    return RobotProfile.model_validate(raw | plain | changes)


BASE = {"name": "base", "dimensions": ["forward", "turn"]}


def policy(robot: RobotProfile, use_hand_rgb: bool = False, **settings: Any) -> VLAPolicy:
    return VLAPolicy(make_model("kosmos", use_hand_rgb=use_hand_rgb, norm_action=False, **settings), robot)


@pytest.mark.parametrize("head", ["LSTMDecoder", "FCDecoder", "GPTDecoder"])
@pytest.mark.parametrize("gripper", [True, False])
def test_a_robot_with_other_dimensions_gets_its_own_actions(head: str, gripper: bool) -> None:
    quantiles = {"q01": [-0.5, -2.0], "q99": [1.5, 2.0]}
    made = policy(
        profile(**BASE, statistics=quantiles), head=head, action_dim=2 + int(gripper), with_gripper=gripper
    )
    chunk = made.session().step(look(0))
    assert chunk.normalized.shape == chunk.actions.shape == (2, 2 + int(gripper))
    expected = chunk.normalized[:, :2].astype(np.float64) * [1.0, 2.0] + [0.5, 0.0]
    np.testing.assert_allclose(chunk.actions[:, :2], expected)
    np.testing.assert_allclose(made.profile.normalize(chunk.actions), chunk.normalized, atol=1e-6)
    if gripper:
        np.testing.assert_array_equal(chunk.actions[:, 2], chunk.normalized[:, 2])
    assert (made.card["action_dim"], made.card["gripper"]) == (2 + int(gripper), gripper)


def test_a_model_that_chooses_gives_rows_of_its_table() -> None:
    table = [[0.5, 0.0], [0.0, 0.5], [0.0, -0.5]]
    made = policy(
        profile(**BASE), head="PredefinedDecoder", action_dim=2, with_gripper=False, predefined_actions=table
    )
    assert all(row in table for row in made.session().step(look(0)).actions.tolist())


def test_a_profile_of_other_dimensions_is_refused() -> None:
    with pytest.raises(ProfileError, match=r"describes 2 beside it \(forward, turn\)"):
        policy(profile(**BASE))
    with pytest.raises(ProfileError, match="predicts 3 numbers per action, 2 beside the gripper"):
        policy(load_profile("calvin"), action_dim=3)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"statistics": {"q01": [0.0] * 6, "q99": [1.0] * 6}}, "statistics need 2 numbers"),
        ({"rotation_format": "axis_angle"}, "leave rotation_format at rpy"),
        ({"dimensions": []}, "dimensions"),
    ],
)
def test_a_profile_that_contradicts_its_dimensions_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        profile(**BASE | changes)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"head": "DiscreteDecoder"}, "DiscreteDecoder needs 'discrete'"),
        ({"action_space": "discrete"}, "DiscreteDecoder needs 'discrete'"),
        ({"action_space": "down_sample"}, "set down_sample to 'pooling'"),
        ({"action_dim": 1}, "beside the gripper"),
        ({"head": "PredefinedDecoder"}, "act_head.predefined_actions needs at least 2 rows"),
        ({"head": "RNNDecoder"}, r"RNNDecoder.*FCDecoder.*PredefinedDecoder"),
        ({"act_encoder": {"window": 2, "gripper_dim": 7}}, "gripper_dim must be smaller"),
        (
            {"head": "DiscreteDecoder", "action_space": "discrete", "n_bin": 16, "state_encoder": {}},
            "remove act_encoder and state_encoder",
        ),
    ],
)
def test_a_head_that_does_not_go_together_is_refused(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        policy(load_profile("calvin"), **settings)


def test_the_robots_state_reaches_the_model() -> None:
    made = policy(load_profile("calvin"), state_encoder={"arm_dim": 2})
    assert made.card["state_dim"] == 3

    def step(*state: float) -> np.ndarray:
        return made.session().step(look(0, state=np.array(state))).normalized[:, :6]

    here = step(0.1, 0.2, 0.9)
    assert not np.allclose(here, step(0.3, 0.2, 0.9), atol=1e-5)
    assert not np.allclose(here, step(0.1, 0.2, 0.1), atol=1e-5)
    # Of the gripper it matters whether it is open.
    np.testing.assert_array_equal(here, step(0.1, 0.2, 0.7))


def test_a_model_that_is_told_the_opening_can_tell_what_the_fingers_hold() -> None:
    made = policy(load_profile("calvin"), state_encoder={"arm_dim": 2, "opening": True})
    assert made.card["state_dim"] == 3
    narrow, wide = (
        made.session().step(look(0, state=np.array([0.1, 0.2, opening]))).normalized for opening in (0.6, 0.9)
    )
    assert not np.allclose(narrow[:, :6], wide[:, :6], atol=1e-5)


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        (None, "give 3 numbers at every step"),
        ([0.1, 0.2], "3 finite numbers .2 of the arm"),
        ([[0.1, 0.2, 0.3]], "3 finite numbers"),
        ([0.1, np.nan, 0.3], "3 finite numbers"),
    ],
)
def test_an_unusable_state_is_refused_and_changes_nothing(state: Any, problem: str) -> None:
    made = policy(load_profile("calvin"), state_encoder={"arm_dim": 2})
    good = look(1, state=np.zeros(3))
    session, twin = made.session(), made.session()
    session.step(good)
    twin.step(good)
    with pytest.raises(ObservationError, match=problem):
        session.step(look(2, state=None if state is None else np.array(state)))
    np.testing.assert_array_equal(session.step(good).normalized, twin.step(good).normalized)


def test_a_model_without_state_encoder_ignores_the_state() -> None:
    made = policy(load_profile("calvin"))
    with_state = made.session().step(look(0, state=np.ones(3)))
    np.testing.assert_array_equal(with_state.normalized, made.session().step(look(0)).normalized)


def test_a_history_of_the_models_own_width_is_taken() -> None:
    made = policy(profile(**BASE), action_dim=2, with_gripper=False, act_encoder={"window": 2})
    rows = np.array([[0.5, -0.5], [0.1, 0.2]], np.float32)
    remembered = look(0, history=HistoryWindow(rows, np.array([True, True])))
    assert not np.array_equal(made.session().step(remembered).normalized, made.session().step(look(0)).normalized)
    wide = look(0, history=HistoryWindow(np.zeros((2, 7), np.float32), np.array([True, True])))
    with pytest.raises(ObservationError, match="have 7 numbers, the model's have 2"):
        made.session().step(wide)


@pytest.mark.parametrize("history", ["post", "pre", "video"])
def test_a_reset_forgets_earlier_frames(history: str) -> None:
    made = policy(load_profile("calvin"), use_hand_rgb=True, history_type=history, head="GPTDecoder")
    session = made.session()
    first = session.step(look(0)).normalized
    assert not np.array_equal(session.step(look(0)).normalized, first) or history == "pre"
    for frame in (1, 2, 3):
        session.step(look(frame))
    session.reset()
    np.testing.assert_array_equal(session.step(look(0)).normalized, first)


def test_an_instruction_is_embedded_once() -> None:
    made = policy(load_profile("calvin"))
    seen: list[tuple[int, ...]] = []
    hook = made.model.word_embedding.register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape)))
    session = made.session()
    for frame in range(4):
        session.step(look(frame))
    hook.remove()
    assert seen == [(1, made.model.encode_text(INSTRUCTION).shape[1], made.model.hidden_size)]


@pytest.mark.parametrize("history", ["pre", "video"])
def test_a_session_equals_the_plain_algorithm(history: str) -> None:
    made = policy(load_profile("calvin"), use_hand_rgb=True, history_type=history)
    session, frames, model = made.session(), [], made.model
    ids = model.encode_text(INSTRUCTION)
    for step in range(5):
        hand, static = made._preprocess([WRAPPERS["gripper"][step], WRAPPERS["static"][step]])
        frames.append(Frame(static, hand))
        expected = decide(model, frames, ids).pose[0].numpy()
        np.testing.assert_allclose(session.step(look(step)).normalized[:, :6], expected, rtol=0, atol=1e-5)


def test_an_action_token_at_a_time_makes_one_action_and_in_parallel_the_chunk() -> None:
    discrete = {"head": "DiscreteDecoder", "action_space": "discrete", "n_bin": 16}
    one, all_at_once = (policy(load_profile("calvin"), **discrete, parallel_decoding=p) for p in (False, True))
    assert (one.card["chunk"], all_at_once.card["chunk"]) == (1, 2)
    assert len(one.session().step(look(0))) == 1
    assert len(all_at_once.session(2).step(look(0))) == 2
    with pytest.raises(ConfigError, match="1 to 1"):
        one.session(2)
