from __future__ import annotations

import golden_cases
import pytest
import torch

from robovlms_ros.model.action_encoder.linear_encoder import ActionLinearEncoder
from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.sequence import MaskedTokens


@pytest.mark.fault(29)
def test_tokens_match_upstream() -> None:
    functions = golden_cases.arrays("functions")
    encoder = ActionLinearEncoder(6, 1, 16)
    encoder.load_state_dict(
        {
            key.removeprefix("actenc_w/"): torch.from_numpy(value)
            for key, value in functions.items()
            if key.startswith("actenc_w/")
        }
    )
    tokens = encoder(torch.from_numpy(functions["actenc_in"]))
    torch.testing.assert_close(tokens, torch.from_numpy(functions["actenc_out"]), rtol=0, atol=1e-6)


def fused(model: BaseRoboVLM, tokens: torch.Tensor, valid: list[bool]) -> torch.Tensor:
    text = model.embed_text(model.encode_text("pick up the red block"))
    images = model.encode_images(golden_cases.images("rgb_q")[None, :1])
    return model.fuse(images, text, MaskedTokens(tokens, torch.tensor([valid])))


def test_rows_that_are_not_valid_have_no_influence(golden_kosmos: BaseRoboVLM) -> None:
    torch.manual_seed(0)
    tokens = torch.randn(1, 3, 64)
    other = tokens.clone()
    other[:, 1] = 7.0
    torch.testing.assert_close(
        fused(golden_kosmos, tokens, [True, False, True]),
        fused(golden_kosmos, other, [True, False, True]),
        rtol=0,
        atol=0,
    )
    assert not torch.allclose(
        fused(golden_kosmos, tokens, [True, True, True]), fused(golden_kosmos, other, [True, True, True])
    )


def test_a_lost_row_keeps_the_others_in_their_places(golden_kosmos: BaseRoboVLM) -> None:
    torch.manual_seed(0)
    tokens = torch.randn(1, 3, 64)
    lost = fused(golden_kosmos, tokens, [True, False, True])
    shifted = fused(golden_kosmos, tokens[:, [1, 0, 2]], [False, True, True])
    assert not torch.allclose(lost, shifted)
