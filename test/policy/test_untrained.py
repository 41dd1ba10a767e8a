from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from robovlms_ros.model.checkpoint import read_checkpoint
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.model.untrained import write_untrained
from robovlms_ros.policy import Observation, VLAPolicy
from robovlms_ros.policy.untrained import make_untrained


def test_it_says_everywhere_that_it_is_untrained(tmp_path: Path) -> None:
    folder = make_untrained(tmp_path / "model", image_size=28)
    assert VLAPolicy.load(folder).card["untrained"] is True
    assert "untrained (random)" in (folder / "MODEL_CARD.md").read_text()


def test_a_seed_decides_the_weights(tmp_path: Path) -> None:
    made = [make_untrained(tmp_path / str(i), image_size=28, seed=seed) for i, seed in enumerate((1, 1, 2))]
    digests = [VLAPolicy.load(folder).card["weights_sha256"] for folder in made]
    assert digests[0] == digests[1] != digests[2]


def test_its_actions_differ_between_images(tmp_path: Path) -> None:
    policy = VLAPolicy.load(make_untrained(tmp_path / "model", window=6, chunk=4))
    looks = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    chunks = [
        policy.session().step(Observation({"static": image}, "open the drawer")).normalized for image in looks
    ]
    assert chunks[0].shape == (4, 7)
    assert np.abs(chunks[0] - chunks[1]).max() > 1e-3


def test_an_image_size_that_patches_do_not_divide_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="multiple"):
        make_untrained(tmp_path / "model", image_size=100)


def test_the_same_seed_gives_the_same_model_and_tokenizer(tmp_path: Path) -> None:
    first, second = (write_untrained(tmp_path / name, image_size=28) for name in "ab")
    for name in ("vlm/tokenizer.json", "vlm/config.json", "config.json"):
        assert (first.config.parent / name).read_bytes() == (second.config.parent / name).read_bytes()
    one, other = read_checkpoint(first.checkpoint), read_checkpoint(second.checkpoint)
    assert all(torch.equal(one[name], other[name]) for name in one)
