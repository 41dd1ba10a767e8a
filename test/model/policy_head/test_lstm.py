"""The LSTM head's closed form equals running it over the window."""

from __future__ import annotations

import golden_cases
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from robovlms_ros.model.config import RoboVLMConfig
from robovlms_ros.model.config_reader import read_config
from robovlms_ros.model.policy_head.base_policy import ActionOutput
from robovlms_ros.model.policy_head.lstm import LSTMDecoder


def make_head(width: int = 8, window: int = 4, **options: object) -> LSTMDecoder:
    config = read_config(golden_cases.config_path("kosmos_lstm")).model_copy(update={"window_size": window})
    assert config.act_head is not None
    act_head = config.act_head.model_copy(update={"hidden_size": 16, **options})
    config = RoboVLMConfig.model_validate(config.model_dump() | {"act_head": act_head.model_dump()})
    torch.manual_seed(0)
    return LSTMDecoder(config, width).eval().requires_grad_(False)


def rollout(head: LSTMDecoder, tokens: Tensor) -> list[ActionOutput]:
    state, outputs = head.init_state(tokens.shape[0]), []
    for step in range(tokens.shape[1]):
        state, output = head.step(state, tokens[:, step])
        outputs.append(output)
    return outputs


@pytest.mark.parametrize("options", [{}, {"latent": 2}, {"latent": 2, "down_sample": "pooling"}])
def test_step_repeated_equals_forward_over_the_window(options: dict[str, object]) -> None:
    head = make_head(**options)
    tokens = torch.randn(2, head.window_size, 5 if head.pooling else head.latent, 8)
    whole = head(tokens)
    for step, output in enumerate(rollout(head, tokens)):
        torch.testing.assert_close(output.pose, whole.pose[:, step], rtol=0, atol=1e-6)
        torch.testing.assert_close(output.gripper, whole.gripper[:, step], rtol=0, atol=1e-6)


@settings(deadline=None, max_examples=20)
@given(window=st.integers(1, 5), steps=st.integers(1, 12), layers=st.integers(1, 3), batch=st.integers(1, 2))
def test_a_step_equals_the_last_window_from_zero(window: int, steps: int, layers: int, batch: int) -> None:
    head = make_head(num_layers=layers, window=window)
    tokens = torch.randn(batch, steps, 1, 8, generator=torch.Generator().manual_seed(steps))
    for step, output in enumerate(rollout(head, tokens)):
        last = head(tokens[:, max(0, step + 1 - window) : step + 1]).newest()
        torch.testing.assert_close(output.pose, last.pose, rtol=0, atol=1e-6)
        torch.testing.assert_close(output.gripper, last.gripper, rtol=0, atol=1e-6)


def test_a_state_is_not_changed_by_stepping_from_it() -> None:
    head = make_head()
    first, second = torch.randn(2, 1, 1, 8)
    state, _ = head.step(head.init_state(), first)
    kept = state.hidden.clone()
    once = head.step(state, second)[1].pose
    torch.testing.assert_close(state.hidden, kept)
    torch.testing.assert_close(head.step(state, second)[1].pose, once)


def test_loss_matches_upstream_with_and_without_mask() -> None:
    functions = golden_cases.arrays("functions")
    prediction = torch.from_numpy(functions["loss_pred"])
    pose, gripper = torch.from_numpy(functions["loss_pose"]), torch.from_numpy(functions["loss_grip"])
    output = ActionOutput(prediction[..., :6], prediction[..., 6])
    for mask, name in ((torch.from_numpy(functions["loss_mask"]), "loss_masked"), (None, "loss_unmasked")):
        losses = torch.stack(make_head().loss(output, pose, gripper, mask))
        torch.testing.assert_close(losses.double(), torch.from_numpy(functions[name]), rtol=0, atol=1e-6)
