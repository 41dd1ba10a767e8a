"""The merged sequence has every part where upstream puts it, whatever the lengths."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robovlms_ros.model.sequence import MaskedTokens, join, merge

lengths = st.integers(0, 4)


def tokens(count: int, first: int) -> torch.Tensor:
    """Two rows of tokens that are numbered."""
    return torch.arange(first, first + count, dtype=torch.float32).view(1, -1, 1).expand(2, -1, 3)


@settings(deadline=None, max_examples=60)
@given(
    text=st.integers(2, 6),
    images=lengths,
    blocks=st.lists(st.tuples(lengths, st.booleans()), max_size=3),
    bos=st.integers(0, 1),
    eos=st.integers(0, 1),
    padding=st.integers(0, 2),
)
def test_blocks_are_inserted_one_after_the_other(
    text: int, images: int, blocks: list[tuple[int, bool]], bos: int, eos: int, padding: int
) -> None:
    words = tokens(text, 0)
    kept = torch.ones(2, text, dtype=torch.bool)
    kept[1, text - padding :] = False
    further = [
        MaskedTokens(tokens(count, 200 + 10 * index), torch.zeros(2, count, dtype=torch.bool) if hidden else None)
        for index, (count, hidden) in enumerate(blocks)
    ]
    merged = merge(words, tokens(images, 100), further, bos=bos, eos=eos, text_mask=kept)

    # As upstream does it: insert a block, look for the end again, insert the next.
    numbers, mask = list(range(text)), kept.tolist()
    numbers[bos:bos] = range(100, 100 + images)
    for row in mask:
        row[bos:bos] = [True] * images
    for index, (count, hidden) in enumerate(blocks):
        end = len(numbers) - eos
        numbers[end:end] = range(200 + 10 * index, 200 + 10 * index + count)
        for row in mask:
            row[end:end] = [not hidden] * count

    assert merged.embeddings[0, :, 0].tolist() == numbers
    assert merged.mask is not None
    assert merged.mask.tolist() == mask
    assert numbers[merged.vision] == list(range(100, 100 + images))
    assert numbers[merged.text] == list(range(bos, text - eos))
    last = (200 + 10 * (len(blocks) - 1), blocks[-1][0]) if blocks else (0, 0)
    assert numbers[merged.action] == list(range(last[0], last[0] + last[1]))


def test_nothing_hidden_needs_no_mask() -> None:
    plain = merge(tokens(3, 0), tokens(2, 100), [MaskedTokens(tokens(1, 200))], bos=1, eos=1)
    assert plain.mask is None
    assert join([plain, plain]).valid is None


def test_sequences_are_joined_with_their_masks() -> None:
    hidden = MaskedTokens(tokens(1, 200), torch.zeros(2, 1, dtype=torch.bool))
    plain = merge(tokens(3, 0), tokens(2, 100), bos=1, eos=1)
    masked = merge(tokens(3, 0), tokens(1, 100), [hidden], bos=1, eos=1)
    joined = join([plain, masked])
    assert joined.tokens[0, :, 0].tolist() == [0, 100, 101, 1, 2, 0, 100, 1, 200, 2]
    assert joined.valid is not None
    assert joined.valid[0].tolist() == [True] * 8 + [False, True]
