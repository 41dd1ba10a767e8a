from __future__ import annotations

import torch
from golden_cases import arrays
from torch.nn import functional

from robovlms_ros.data.augmentation import RandomShift, shift_images

GOLDEN = {key: torch.from_numpy(value) for key, value in arrays("functions").items() if key.startswith("shift_")}


def test_shift_matches_upstream() -> None:
    shifted = shift_images(GOLDEN["shift_in"], GOLDEN["shift_draw"].view(2, 2), pad=4)
    torch.testing.assert_close(shifted, GOLDEN["shift_out_pad4_seed5"], atol=1e-5, rtol=0)


def test_the_same_seed_draws_the_same_shifts_as_upstream() -> None:
    shift = RandomShift(4, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(shift(GOLDEN["shift_in"]), GOLDEN["shift_out_pad4_seed5"], atol=1e-5, rtol=0)


def test_an_offset_of_the_padding_moves_nothing() -> None:
    images = torch.randint(256, (3, 3, 6, 9), dtype=torch.uint8)
    assert torch.equal(shift_images(images, torch.full((3, 2), 2), pad=2), images)


def test_a_shift_is_padding_and_cutting_out() -> None:
    images = torch.rand(1, 3, 6, 9)
    padded = functional.pad(images, (5, 5, 5, 5), "replicate")
    for x in range(11):
        for y in range(11):
            cut = padded[:, :, y : y + 6, x : x + 9]
            assert torch.equal(shift_images(images, torch.tensor([[x, y]]), pad=5), cut)


def test_every_frame_of_a_window_moves_by_itself() -> None:
    torch.manual_seed(0)
    frame = torch.rand(3, 8, 8)
    moved = RandomShift(3)(frame.expand(2, 5, 3, 8, 8))
    assert moved.shape == (2, 5, 3, 8, 8)
    assert len({tuple(image.flatten().tolist()) for image in moved.flatten(0, 1)}) > 5


def test_draws_cover_the_range_they_should() -> None:
    column = torch.arange(9.0).expand(500, 1, 9, 9)
    for smallest in (0, 1):
        moved = RandomShift(4, smallest, torch.Generator().manual_seed(1))(column)
        # The middle column shows where the cut began.
        assert moved[:, 0, 4, 4].unique().tolist() == list(range(smallest, 9))
