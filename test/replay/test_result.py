"""The file of a replay: the same numbers come back, and nothing else is taken for one."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robovlms_ros.replay.bag import write_camera_bag
from robovlms_ros.replay.errors import ReplayError
from robovlms_ros.replay.images import read_images
from robovlms_ros.replay.result import (
    BagInfo,
    ImageReference,
    Inference,
    ModelInfo,
    Options,
    PublishedAction,
    ReplayResult,
    load_result,
)

STAMP = 1_700_000_000_123_456_789
ROW = (0.1, -0.2, 1e-300, 0.0, -0.0, 3.0, 1.0)


def result(**changes: object) -> ReplayResult:
    image = ImageReference(topic="/camera/image_raw", number=3, time_ns=STAMP + 5, stamp_ns=STAMP)
    inference = Inference(
        number=0,
        start_ns=STAMP + 5,
        end_ns=STAMP + 5,
        stamp_ns=STAMP,
        images={"static": image},
        instruction="pick up the red block",
        episode=0,
        normalized=(ROW, ROW),
        actions=(ROW, ROW),
        timings={"model": 0.01},
    )
    action = PublishedAction(
        time_ns=STAMP + 5,
        stamp_ns=STAMP,
        episode=0,
        sequence=0,
        instruction="pick up the red block",
        action=ROW,
        normalized=ROW,
        inference=0,
    )
    made = ReplayResult(
        versions={"robovlms_ros": "0.1.0"},
        bag=BagInfo(path="bag", files=("bag_0.mcap",), start_ns=STAMP, end_ns=STAMP + 9, topics=()),
        model=ModelInfo(
            path="model",
            card={"model_id": "RoboKosMos/LSTMDecoder@0123", "window": 8},
            frame="base_link",
            rotation_format="rpy",
            step_duration=0.1,
            limits={"translation": 0.05},
        ),
        options=Options(topics={"image": "/camera/image_raw"}, parameters={"rate": 0.0}, history_length=16),
        inferences=(inference,),
        actions=(action,),
    )
    return made.model_copy(update=changes)


def test_a_saved_result_comes_back_as_it_was(tmp_path: Path) -> None:
    result().save(tmp_path / "deep" / "actions.json")
    assert load_result(tmp_path / "deep" / "actions.json") == result()


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=7, max_size=7))
def test_every_number_survives_to_the_last_bit(tmp_path_factory: pytest.TempPathFactory, row: list[float]) -> None:
    path = tmp_path_factory.getbasetemp() / "numbers.json"
    action = result().actions[0].model_copy(update={"action": tuple(row)})
    result(actions=(action,)).save(path)
    back = load_result(path).actions[0].action
    assert [number.hex() for number in back] == [float(number).hex() for number in row]


def test_the_file_has_a_line_for_every_action_and_inference(tmp_path: Path) -> None:
    path = tmp_path / "actions.json"
    result(actions=result().actions * 3).save(path)
    lines = [line for line in path.read_text().splitlines() if line.startswith("  {")]
    assert len(lines) == 1 + 3


def test_the_digest_is_that_of_the_actions_and_of_nothing_else() -> None:
    first = result()
    assert result(seconds=9.0, created="now", machine={"cpu": "other"}).digest == first.digest
    moved = first.actions[0].model_copy(update={"action": (0.2, *ROW[1:])})
    assert result(actions=(moved,)).digest != first.digest


def test_every_image_is_named_once() -> None:
    assert [image.number for image in result(inferences=result().inferences * 2).images()] == [3]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Invalid JSON"),
        ("[]", "no result"),
        ('{"kind": "dataset"}', "kind"),
        ("{}", "versions"),
        (json.dumps({**json.loads(result().model_dump_json()), "format": 2}), "another format than 1"),
        (json.dumps({**json.loads(result().model_dump_json()), "hidden": 1}), "hidden"),
    ],
)
def test_what_is_no_result_is_refused_with_a_reason(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ReplayError, match=reason) as refused:
        load_result(path)
    assert "other.json" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match=r"nothing\.json does not exist: 'robovlms replay"):
        load_result(tmp_path / "nothing.json")


def test_the_images_of_a_result_are_read_from_the_bag_again(tmp_path: Path) -> None:
    frames = list(np.random.default_rng(0).integers(0, 256, (5, 8, 6, 3), dtype=np.uint8))
    write_camera_bag(tmp_path / "bag", frames, "go", image_topic="/cam", start_ns=STAMP)
    wanted = [ImageReference(topic="/cam", number=n, time_ns=STAMP, stamp_ns=STAMP) for n in (3, 1, 9)]
    read = list(read_images(tmp_path / "bag", wanted))
    assert [reference.number for reference, _ in read] == [1, 3]
    for reference, pixels in read:
        np.testing.assert_array_equal(pixels, frames[reference.number])
