import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robovlms_ros.replay.footage import FootageError, load_footage


def test_frames_of_an_animated_image_come_in_order(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 6), (value, 0, 0)) for value in (10, 120, 250)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True)

    footage = load_footage(tmp_path / "a.webp")

    assert [frame.shape for frame in footage.frames] == [(6, 8, 3)] * 3
    assert [int(frame[0, 0, 0]) for frame in footage.frames] == [10, 120, 250]


def test_a_folder_is_read_in_order_of_names_and_grayscale_becomes_rgb(tmp_path: Path) -> None:
    Image.new("L", (4, 4), 200).save(tmp_path / "2.png")
    Image.new("RGB", (4, 4), (1, 2, 3)).save(tmp_path / "1.png")
    (tmp_path / "notes.txt").write_text("not an image")

    frames = load_footage(tmp_path).frames

    assert [frame[0, 0].tolist() for frame in frames] == [[1, 2, 3], [200, 200, 200]]


def test_the_default_is_a_real_photograph_seen_by_a_moving_camera() -> None:
    frames = load_footage().frames

    assert len(frames) == 28
    assert all(frame.std() > 30 for frame in frames), "a photograph has contrast"
    assert all((a != b).any() for a, b in itertools.pairwise(frames)), "every frame differs"


@pytest.mark.parametrize("content", [b"", b"no image at all"])
def test_a_file_that_is_no_image_is_named_in_the_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(FootageError, match=r"broken\.png cannot be decoded"):
        load_footage(tmp_path)


def test_a_missing_path_and_an_empty_folder_say_what_to_name_instead(tmp_path: Path) -> None:
    with pytest.raises(FootageError, match="does not exist: name"):
        load_footage(tmp_path / "nothing")
    with pytest.raises(FootageError, match="holds no images"):
        load_footage(tmp_path)


def test_real_robot_footage_decodes(request: pytest.FixtureRequest) -> None:
    path = request.config.rootpath.parent / "shared/data/real/so100_video.webp"
    if not path.exists():
        pytest.skip("so100_video.webp is not on this machine")
    frames = load_footage(path).frames
    assert len(frames) == 28
    assert frames[0].shape == (334, 640, 3)
    assert frames[0].dtype == np.uint8
