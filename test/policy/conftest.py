"""Upstream's golden model as files, the way a user has them."""

from __future__ import annotations

from pathlib import Path

import golden_cases
import pytest
import torch


@pytest.fixture(scope="session")
def golden_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``kosmos_lstm`` as a published checkpoint."""
    path = tmp_path_factory.mktemp("golden") / "kosmos_lstm.pt"
    torch.save({"state_dict": golden_cases.state_dict("kosmos_lstm")}, path)
    return path
