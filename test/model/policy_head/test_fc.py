from __future__ import annotations

from typing import Any

import pytest
import torch
from golden_backbones import part
from golden_cases import arrays, config_path

from robovlms_ros.model.config_reader import read_config
from robovlms_ros.model.policy_head.fc import FCDecoder


@pytest.mark.parametrize("step", [0, 1, 6])
def test_matches_upstream(step: int) -> None:
    head = FCDecoder(read_config(config_path("kosmos_fc")), 64)
    head.load_state_dict(part("kosmos_fc", "act_head"), strict=True)
    golden = arrays("kosmos_fc")
    _, output = head.step(head.init_state(), torch.from_numpy(golden[f"rollout_hs_{step}"])[0])
    action = torch.cat([output.pose, output.gripper.unsqueeze(-1)], dim=-1)
    torch.testing.assert_close(action, torch.from_numpy(golden[f"rollout_action_{step}"])[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("latent", [1, 2])
@pytest.mark.parametrize("pooling", ["none", "pooling"])
def test_steps_equal_the_window(make_config: Any, latent: int, pooling: str) -> None:
    head = FCDecoder(make_config("FCDecoder", latent=latent, down_sample=pooling, action_dim=3), 8)
    tokens = torch.randn(2, 4, 5 if pooling == "pooling" else latent, 8)
    window = head(tokens)
    assert window.pose.shape == (2, 4, 3, 2)
    for step in range(4):
        _, output = head.step(None, tokens[:, step])
        torch.testing.assert_close(output.pose, window.pose[:, step])
        torch.testing.assert_close(output.gripper, window.gripper[:, step])


def test_pooling_takes_the_maximum_over_tokens(make_config: Any) -> None:
    head = FCDecoder(make_config("FCDecoder", down_sample="pooling"), 8)
    tokens = torch.randn(1, 5, 8)
    _, pooled = head.step(None, tokens)
    _, single = head.step(None, tokens.amax(dim=1, keepdim=True))
    torch.testing.assert_close(pooled.pose, single.pose)


def test_every_parameter_learns(make_config: Any) -> None:
    head = FCDecoder(make_config("FCDecoder"), 8)
    output = head(torch.randn(2, 4, 1, 8))
    (output.pose.square().sum() + output.gripper.square().sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in head.parameters())
