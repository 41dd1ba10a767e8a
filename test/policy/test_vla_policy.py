"""The public way in gives the actions of upstream's control-step wrappers."""

from __future__ import annotations

import json
from pathlib import Path

import golden_cases
import numpy as np
import pytest
import torch

from robovlms_ros.model.errors import ConfigError, ModelError, ProfileError, WeightsError
from robovlms_ros.policy import Observation, VLAPolicy
from robovlms_ros.policy.session import VLASession

WRAPPERS = golden_cases.arrays("wrappers")
INSTRUCTION = "pick up the red block"
CONFIG = golden_cases.config_path("kosmos_lstm")


def look(frame: int) -> Observation:
    images = {"static": WRAPPERS["static"][frame], "hand": WRAPPERS["gripper"][frame]}
    return Observation(images=images, instruction=INSTRUCTION)


def first_actions(session: VLASession, frames: range) -> np.ndarray:
    return np.stack([session.step(look(frame)).actions[0] for frame in frames])


def with_reset(session: VLASession) -> np.ndarray:
    """Frames 0 to 7, a reset, frame 2: what the wrapper vectors hold."""
    actions = first_actions(session, range(8))
    session.reset()
    return np.concatenate([actions, first_actions(session, range(2, 3))])


def exact(checkpoint: Path, robot: str = "calvin", config: Path = CONFIG) -> VLAPolicy:
    return VLAPolicy.from_upstream(
        config, checkpoint, vlm_dir=golden_cases.FOLDER, robot=robot, preprocess="exact"
    )


def test_calvin_actions_match_upstreams_wrapper(golden_checkpoint: Path) -> None:
    actions = with_reset(exact(golden_checkpoint).session())
    expected = WRAPPERS["calvin_lstm__actions"]
    np.testing.assert_allclose(actions[:, :6], expected[:, :6], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(actions[:, 6] * 2 - 1, expected[:, 6])


def test_without_action_normalisation_the_pose_is_what_the_head_says(
    golden_checkpoint: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(json.loads(CONFIG.read_text()) | {"norm_action": False}))
    actions = with_reset(exact(golden_checkpoint, config=config).session())
    np.testing.assert_allclose(actions[:, :6], WRAPPERS["calvin_lstm_nonorm__actions"][:, :6], rtol=0, atol=1e-5)


def test_widowx_actions_match_upstreams_simpler_wrapper(golden_checkpoint: Path) -> None:
    actions = first_actions(exact(golden_checkpoint, "widowx_bridge").session(), range(8))
    expected = WRAPPERS["simpler_widowx_bridge__env"]
    np.testing.assert_allclose(actions[:, :6], expected[:, :6], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(actions[:, 6] * 2 - 1, expected[:, 6])


@pytest.mark.parametrize("prefix", ["model.", "", "module.model."])
@pytest.mark.parametrize("container", ["state_dict", "model_state_dict"])
def test_every_published_key_form_gives_the_same_model(
    golden_checkpoint: Path, tmp_path: Path, prefix: str, container: str
) -> None:
    weights = golden_cases.state_dict("kosmos_lstm")
    path = tmp_path / "model.pt"
    torch.save({container: {prefix + key.removeprefix("model."): value for key, value in weights.items()}}, path)
    assert exact(path).card["model_id"] == exact(golden_checkpoint).card["model_id"]


def test_fast_preprocessing_stays_close_to_exact(golden_checkpoint: Path) -> None:
    fast = VLAPolicy.from_upstream(CONFIG, golden_checkpoint)
    difference = first_actions(fast.session(), range(8)) - WRAPPERS["calvin_lstm__actions"][:8]
    assert np.abs(difference[:, :6]).max() < 0.01


def test_the_card_says_what_the_model_is(golden_checkpoint: Path) -> None:
    card = exact(golden_checkpoint).card
    json.dumps(card)
    digest = card["weights_sha256"]
    assert isinstance(digest, str)
    assert card["model_id"] == f"RoboKosMos/LSTMDecoder@{digest[:12]}"
    assert (card["cameras"], card["window"], card["chunk"], card["action_dim"]) == (["static"], 4, 3, 7)
    assert (card["history_type"], card["action_encoder"], card["robot"]) == ("post", None, "calvin")
    assert (card["dtype"], card["device"], card["untrained"]) == ("float32", "cpu", False)
    assert card["parameters"] == {"backbone": 254144, "act_head": 1583893, "total": 1838101}


def test_bfloat16_runs_and_stays_near(golden_checkpoint: Path) -> None:
    policy = VLAPolicy.from_upstream(CONFIG, golden_checkpoint, dtype="bfloat16")
    difference = first_actions(policy.session(), range(8)) - WRAPPERS["calvin_lstm__actions"][:8]
    assert np.abs(difference[:, :6]).max() < 0.05


def test_two_sessions_share_a_model_and_nothing_else(golden_checkpoint: Path) -> None:
    policy = exact(golden_checkpoint)
    first, second = policy.session(), policy.session()
    expected = first_actions(policy.session(), range(4))
    interleaved = []
    for frame in range(4):
        interleaved.append(first.step(look(frame)).actions[0])
        second.step(look(7 - frame))
    np.testing.assert_array_equal(interleaved, expected)


def test_special_tokens_are_those_of_the_tokenizer(golden_checkpoint: Path) -> None:
    assert {"<grounding>", "<image>", "</s>"} <= set(exact(golden_checkpoint).special_tokens)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_an_absent_gpu_is_an_error_and_never_a_silent_cpu(golden_checkpoint: Path) -> None:
    with pytest.raises(ModelError, match="CUDA"):
        VLAPolicy.from_upstream(CONFIG, golden_checkpoint, device="cuda")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"device": "gpu"}, "use cpu, cuda"),
        ({"dtype": "fp32"}, "choose one of float32"),
        ({"preprocess": "slow"}, "choose one of fast, exact"),
    ],
)
def test_wrong_options_list_the_right_ones(golden_checkpoint: Path, options: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        VLAPolicy.from_upstream(CONFIG, golden_checkpoint, **options)


def test_an_unknown_robot_lists_the_known_ones(golden_checkpoint: Path) -> None:
    with pytest.raises(ProfileError, match="calvin, google_robot, tabletop, widowx_bridge"):
        VLAPolicy.from_upstream(CONFIG, golden_checkpoint, robot="r2d2")


def test_a_backbone_that_does_not_exist_lists_those_that_do(golden_checkpoint: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(json.loads(CONFIG.read_text()) | {"robovlm_name": "RoboNone"}))
    with pytest.raises(ConfigError, match=r"RoboNone.*RoboKosMos"):
        exact(golden_checkpoint, config=config)


def test_a_checkpoint_without_policy_head_is_refused(tmp_path: Path) -> None:
    weights = {
        key: value for key, value in golden_cases.state_dict("kosmos_lstm").items() if "act_head" not in key
    }
    torch.save({"state_dict": weights}, tmp_path / "vlm.pt")
    with pytest.raises(WeightsError, match="no policy head"):
        exact(tmp_path / "vlm.pt")


@pytest.mark.parametrize("horizon", [0, 4])
def test_an_execute_horizon_beyond_the_chunk_is_refused(golden_checkpoint: Path, horizon: int) -> None:
    with pytest.raises(ConfigError, match="1 to 3"):
        exact(golden_checkpoint).session(horizon)
