from __future__ import annotations

from typing import Any

import pytest
import torch

from robovlms_ros.model.errors import ConfigError
from robovlms_ros.model.policy_head.predefined import PredefinedDecoder

TABLE = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [-1.0, 0.5, 1.0]]


@pytest.fixture
def head(make_config: Any) -> PredefinedDecoder:
    torch.manual_seed(0)
    return PredefinedDecoder(make_config("PredefinedDecoder", action_dim=3), 8, TABLE)


def test_a_chunk_holds_the_best_rows(head: PredefinedDecoder) -> None:
    tokens = torch.randn(2, 4, 1, 8)
    output = head(tokens)
    best = head.score(tokens).argmax(dim=-1)
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
        loss = head.choice_loss(head.score(tokens), pose, gripper).arm
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.equal(head.score(tokens).argmax(dim=-1), rows)
    assert head.choice_loss(head.score(tokens), pose, gripper).gripper_accuracy == 1


def test_masked_targets_do_not_count(head: PredefinedDecoder) -> None:
    scores = head.score(torch.randn(2, 4, 1, 8))
    pose, gripper = torch.rand(2, 4, 3, 2), torch.ones(2, 4, 3)
    mask = torch.rand(2, 4, 3) > 0.4
    losses = head.choice_loss(scores, pose, gripper, mask)
    changed = torch.where(mask.unsqueeze(-1), pose, -pose)
    assert torch.equal(losses.arm, head.choice_loss(scores, changed, gripper, mask).arm)
    only = head.choice_loss(
        scores[mask].view(1, 1, -1, 4), pose[mask].view(1, 1, -1, 2), gripper[mask].view(1, 1, -1)
    )
    torch.testing.assert_close(losses.arm, only.arm)


def test_the_table_survives_the_meta_device(make_config: Any) -> None:
    with torch.device("meta"):
        head = PredefinedDecoder(make_config("PredefinedDecoder", action_dim=3), 8, TABLE)
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
        PredefinedDecoder(make_config("PredefinedDecoder", action_dim=3), 8, table)
