from __future__ import annotations

from typing import Any

import pytest
import torch
from golden_backbones import part
from golden_cases import arrays, config_path
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2Model

from robovlms_ros.model.config_reader import read_config
from robovlms_ros.model.errors import ConfigError, ObservationError
from robovlms_ros.model.policy_head.gpt import GPTDecoder
from robovlms_ros.model.policy_head.trajectory_gpt2 import TrajectoryGPT2


@pytest.fixture
def golden_head() -> GPTDecoder:
    head = GPTDecoder(read_config(config_path("kosmos_gpt")), 64).eval()
    head.load_state_dict(part("kosmos_gpt", "act_head"), strict=True)
    return head


def test_matches_upstream(golden_head: GPTDecoder) -> None:
    golden, state = arrays("kosmos_gpt"), golden_head.init_state()
    for step in range(2):
        state, output = golden_head.step(state, torch.from_numpy(golden[f"rollout_hs_{step}"])[0])
        action = torch.cat([output.pose, output.gripper.unsqueeze(-1)], dim=-1)
        expected = torch.from_numpy(golden[f"rollout_action_{step}"])[0]
        torch.testing.assert_close(action, expected, atol=1e-5, rtol=0)


def test_upstreams_mask_buffers_are_accepted_and_not_kept(golden_head: GPTDecoder) -> None:
    stored = part("kosmos_gpt", "act_head")
    buffers = {key for key in stored if key.endswith((".attn.bias", ".attn.masked_bias"))}
    assert len(buffers) == 16
    assert golden_head.state_dict().keys() == stored.keys() - buffers


def test_is_gpt2_without_words() -> None:
    reference = GPT2Model(GPT2Config(n_layer=8, n_head=8, n_embd=16, n_positions=5, vocab_size=2)).eval()
    own = TrajectoryGPT2(16, 5).eval()
    weights = {key: tensor for key, tensor in reference.state_dict().items() if key != "wte.weight"}
    own.load_state_dict(weights, strict=True)
    features = torch.randn(2, 5, 16)
    expected = reference(inputs_embeds=features).last_hidden_state
    torch.testing.assert_close(own(features)[0], expected, atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=15)
@given(window=st.integers(1, 4), steps=st.integers(1, 9), latent=st.integers(1, 2), seed=st.integers(0, 99))
def test_a_step_answers_for_the_last_window(window: int, steps: int, latent: int, seed: int) -> None:
    torch.manual_seed(seed)
    raw = read_config(config_path("kosmos_gpt"))
    assert raw.act_head is not None
    small = raw.act_head.model_copy(update={"hidden_size": 8, "latent": latent})
    head = GPTDecoder(raw.model_copy(update={"act_head": small, "window_size": window}), 6).eval()
    tokens = torch.randn(2, steps, latent, 6)
    state = head.init_state(batch_size=2)
    for step in range(steps):
        state, output = head.step(state, tokens[:, step])
        last = head(tokens[:, max(0, step + 1 - window) : step + 1])
        torch.testing.assert_close(output.pose, last.pose[:, -1], atol=1e-5, rtol=0)
        torch.testing.assert_close(output.gripper, last.gripper[:, -1], atol=1e-5, rtol=0)


def test_two_sessions_do_not_interfere(make_config: Any) -> None:
    head = GPTDecoder(make_config("GPTDecoder"), 16).eval()
    tokens = torch.randn(2, 6, 1, 1, 16)
    alone = []
    state = head.init_state()
    for step in range(6):
        state, output = head.step(state, tokens[0, step])
        alone.append(output.pose)
    first, second = head.init_state(), head.init_state()
    for step in range(6):
        first, output = head.step(first, tokens[0, step])
        second, _ = head.step(second, tokens[1, step])
        assert torch.equal(output.pose, alone[step])


def test_a_window_longer_than_the_positions_is_refused(make_config: Any) -> None:
    head = GPTDecoder(make_config("GPTDecoder"), 16)
    with pytest.raises(ObservationError, match="5 steps was given to a GPT head with 4 positions"):
        head(torch.randn(1, 5, 1, 16))


def test_a_width_that_the_heads_do_not_divide_is_refused(make_config: Any) -> None:
    with pytest.raises(ConfigError, match=r"20 wide.*multiple of 8"):
        GPTDecoder(make_config("GPTDecoder", hidden_size=20), 16)


def test_every_parameter_learns(make_config: Any) -> None:
    head = GPTDecoder(make_config("GPTDecoder"), 8)
    output = head(torch.randn(2, 4, 1, 8))
    (output.pose.square().sum() + output.gripper.square().sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in head.parameters())
