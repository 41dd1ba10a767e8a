"""Every head for any number of action dimensions, with and without a gripper."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from golden_backbones import tokenizer

from robovlms_ros.model.errors import ConfigError
from robovlms_ros.model.policy_head.base_policy import BasePolicyHead
from robovlms_ros.model.registry import policy_head_class

LEARNING = ["FCDecoder", "GPTDecoder", "LSTMDecoder", "PredefinedDecoder"]


def build(make_config: Any, name: str, action_dim: int, with_gripper: bool) -> BasePolicyHead:
    table = [[0.0] * action_dim, [1.0] * action_dim]
    config = make_config(name, action_dim=action_dim, with_gripper=with_gripper, predefined_actions=table)
    return policy_head_class(name).build(config, 8, tokenizer("kosmos2_tiny_untied"))


@pytest.mark.parametrize(
    ("action_dim", "with_gripper"), [(1, False), (2, True), (2, False), (7, False), (14, True)]
)
@pytest.mark.parametrize("name", [*LEARNING, "DiscreteDecoder"])
def test_a_chunk_has_the_dimensions_asked_for(
    make_config: Any, name: str, action_dim: int, with_gripper: bool
) -> None:
    head = build(make_config, name, action_dim, with_gripper).eval()
    tokens = torch.randint(128, 384, (2, 3 * action_dim)) if name == "DiscreteDecoder" else torch.randn(2, 1, 8)
    _, output = head.step(head.init_state(2), tokens)
    assert output.pose.shape == (2, 3, action_dim - int(with_gripper))
    assert (None if output.gripper is None else output.gripper.shape) == ((2, 3) if with_gripper else None)


@pytest.mark.parametrize("name", LEARNING)
def test_without_a_gripper_only_the_pose_is_learned(make_config: Any, name: str) -> None:
    head = build(make_config, name, 2, with_gripper=False)
    losses = head.loss(head(torch.randn(2, 4, 1, 8)), torch.rand(2, 4, 3, 2), None)
    losses.arm.backward()
    assert losses.gripper == 0
    assert losses.gripper_accuracy.isnan()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


def test_a_predefined_head_without_a_table_is_refused(make_config: Any) -> None:
    with pytest.raises(ConfigError, match=r"act_head\.predefined_actions"):
        policy_head_class("PredefinedDecoder").build(make_config("PredefinedDecoder"), 8, None)
