from __future__ import annotations

from typing import Any

import pytest
import torch

from robovlms_ros.model.errors import ConfigError
from robovlms_ros.model.policy_head.base_policy import ActionOutput
from robovlms_ros.model.policy_head.predefined import PredefinedDecoder

TABLE = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [-1.0, 0.5, 1.0]]


@pytest.fixture
def head(make_config: Any) -> PredefinedDecoder:
    torch.manual_seed(0)
    return make_head(make_config, TABLE)


def make_head(make_config: Any, table: list[list[float]]) -> PredefinedDecoder:
    return PredefinedDecoder(make_config("PredefinedDecoder", action_dim=3, predefined_actions=table), 8)


def test_a_chunk_holds_the_best_rows(head: PredefinedDecoder) -> None:
    tokens = torch.randn(2, 4, 1, 8)
    output = head(tokens)
    assert output.scores is not None
    best = output.scores.argmax(dim=-1)
    assert best.unique().numel() > 1
    expected = torch.tensor(TABLE)[best]
    assert torch.equal(output.pose, expected[..., :2])
    assert torch.equal(output.gripper > 0, expected[..., 2] == 1)


def test_steps_equal_the_window(head: PredefinedDecoder) -> None:
    tokens = torch.randn(2, 4, 1, 8)
    window = head(tokens)
    for step in range(4):
        _, output = head.step(None, tokens[:, step])
        assert torch.equal(output.pose, window.pose[:, step])
        assert torch.equal(output.gripper, window.gripper[:, step])


def test_learns_the_rows_nearest_to_its_targets(head: PredefinedDecoder) -> None:
    tokens = torch.randn(2, 4, 1, 8)
    rows = torch.randint(4, (2, 4, 3))
    noisy = torch.tensor(TABLE)[rows] + torch.rand(2, 4, 3, 3) * 0.1
    pose, gripper = noisy[..., :2], (noisy[..., 2] > 0.5).float()
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
    for _ in range(150):
        loss = head.loss(head(tokens), pose, gripper).arm
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    output = head(tokens)
    assert torch.equal(output.pose, torch.tensor(TABLE)[rows][..., :2])
    assert head.loss(output, pose, gripper).gripper_accuracy == 1


def test_masked_targets_do_not_count(head: PredefinedDecoder) -> None:
    output = head(torch.randn(2, 4, 1, 8))
    pose, gripper = torch.rand(2, 4, 3, 2), torch.ones(2, 4, 3)
    mask = torch.rand(2, 4, 3) > 0.4
    losses = head.loss(output, pose, gripper, mask)
    changed = torch.where(mask.unsqueeze(-1), pose, -pose)
    assert torch.equal(losses.arm, head.loss(output, changed, gripper, mask).arm)
    assert output.gripper is not None
    assert output.scores is not None
    masked = ActionOutput(*(part[mask].view(1, 1, -1, *part.shape[3:]) for part in output))
    only = head.loss(masked, pose[mask].view(1, 1, -1, 2), gripper[mask].view(1, 1, -1))
    torch.testing.assert_close(losses.arm, only.arm)
    torch.testing.assert_close(losses.gripper_accuracy, only.gripper_accuracy)


def test_the_table_survives_the_meta_device(make_config: Any) -> None:
    with torch.device("meta"):
        head = make_head(make_config, TABLE)
    assert head.table.tolist() == TABLE


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([[0.0, 0.0, 0.0]], "at least 2 rows of 3"),
        ([[0.0, 0.0], [1.0, 0.0]], "rows of 3 numbers"),
        ([[0.0, 0.0, 0.0], [1.5, 0.0, 0.0]], "normalised"),
        ([[0.0, 0.0, 0.0], [float("nan"), 0.0, 0.0]], "normalised"),
        ([[0.0, 0.0, 0.0], [1.0, 0.0, 0.3]], "gripper, 0 or 1"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(make_config: Any, table: list[list[float]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_head(make_config, table)
