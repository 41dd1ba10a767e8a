from pathlib import Path

import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore

from robovlms_ros.replay.bag import BagError, open_bag, write_camera_bag

START_NS = 1_600_000_000_000_000_123


@pytest.fixture
def frames() -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), dtype=np.uint8))


@pytest.fixture
def bag_path(tmp_path: Path, frames: list[np.ndarray]) -> Path:
    write_camera_bag(tmp_path / "bag", frames, "open the drawer", rate=10.0, start_ns=START_NS)
    return tmp_path / "bag"


def test_a_written_bag_gives_the_same_pixels_stamps_and_instruction_back(
    bag_path: Path, frames: list[np.ndarray]
) -> None:
    store = get_typestore(Stores.ROS2_KILTED)
    with open_bag(bag_path) as bag:
        messages = list(bag.messages())

    decoded = [store.deserialize_cdr(m.data, m.type_name) for m in messages]
    assert decoded[0].data == "open the drawer"
    for i, (message, image) in enumerate(zip(messages[1:], decoded[1:], strict=True)):
        stamp_ns = image.header.stamp.sec * 10**9 + image.header.stamp.nanosec
        assert stamp_ns == message.time_ns == START_NS + i * 100_000_000
        assert image.encoding == "rgb8"
        np.testing.assert_array_equal(image.data.reshape(4, 6, 3), frames[i])


def test_contents_name_topics_types_and_counts(bag_path: Path) -> None:
    with open_bag(bag_path) as bag:
        assert bag.contents.topics == {
            "/camera/image_raw": "sensor_msgs/msg/Image",
            "/instruction": "std_msgs/msg/String",
        }
        assert bag.contents.counts == {"/camera/image_raw": 5, "/instruction": 1}


def test_a_missing_topic_is_an_error_that_lists_what_the_bag_has(bag_path: Path) -> None:
    with open_bag(bag_path) as bag, pytest.raises(BagError, match=r"'/wrist'.*/camera/image_raw \(5\)"):
        bag.contents.require("/wrist")


def test_a_bag_cut_short_is_an_error_that_names_it(bag_path: Path) -> None:
    (file,) = bag_path.glob("*.mcap")
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(BagError, match=str(bag_path)), open_bag(bag_path):
        pass


@pytest.mark.parametrize("kind", ["absent", "empty folder", "text file"])
def test_what_is_no_bag_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "thing"
    if kind == "empty folder":
        path.mkdir()
    elif kind == "text file":
        path.write_text("hello")
    with pytest.raises(BagError, match="thing"), open_bag(path):
        pass
