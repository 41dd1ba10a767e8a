from __future__ import annotations

import pytest
import torch
from golden_backbones import kosmos, kosmos_image_tokens, part
from golden_cases import arrays, images

from robovlms_ros.model.vision_encoder.vision_resampler import PerceiverResampler

# With the golden weights the resampler makes rounding errors of its input 200 times larger: upstream's own numbers
# are 4.6e-5 away from those of a computation in float64.
TOLERANCE = 5e-5


@pytest.fixture
def resampler() -> PerceiverResampler:
    module = PerceiverResampler(64)
    module.load_state_dict(part("kosmos_fc_resampler", "vision_resampler"), strict=True)
    return module.eval()


@torch.no_grad()
def test_matches_upstream(resampler: PerceiverResampler) -> None:
    tokens = kosmos_image_tokens(kosmos("kosmos_fc_resampler"), images("rgb_q")[:1])
    expected = torch.from_numpy(arrays("kosmos_fc_resampler")["image_features_0"])
    torch.testing.assert_close(resampler(tokens.unsqueeze(1)), expected, atol=TOLERANCE, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("shape", [(5, 64), (2, 5, 64), (2, 3, 70, 64)])
def test_images_are_resampled_one_by_one_to_64_tokens(
    resampler: PerceiverResampler, shape: tuple[int, ...]
) -> None:
    tokens = torch.randn(shape)
    together = resampler(tokens.view(1, *shape))[0]
    assert together.shape == (*shape[:-2], 64, 64)
    flat = tokens.view(-1, *shape[-2:])
    alone = torch.cat([resampler(image.unsqueeze(0)) for image in flat])
    torch.testing.assert_close(together.reshape(alone.shape), alone, atol=TOLERANCE, rtol=0)


@torch.no_grad()
def test_the_order_of_the_tokens_does_not_matter(resampler: PerceiverResampler) -> None:
    tokens = torch.randn(1, 6, 64)
    torch.testing.assert_close(resampler(tokens.flip(1)), resampler(tokens), atol=TOLERANCE, rtol=0)


def test_every_parameter_learns() -> None:
    resampler = PerceiverResampler(16)
    resampler(torch.randn(2, 5, 16)).square().mul(torch.rand(16)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in resampler.parameters())
