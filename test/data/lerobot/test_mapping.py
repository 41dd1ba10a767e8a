"""What the numbers of a LeRobot dataset mean is said by a mapping."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lerobot_folder
import numpy as np
import pytest
import yaml

from robovlms_ros.data.errors import DataError
from robovlms_ros.data.lerobot.mapping import Mapping, load_mapping, template
from robovlms_ros.data.lerobot.metadata import Feature, Info, read_metadata
from robovlms_ros.data.lerobot.motions import NO_PREDECESSOR, motions
from robovlms_ros.data.lerobot.source import LeRobotSource
from robovlms_ros.data.quaternions import axis_angle_to_quaternion
from robovlms_ros.data.rotations import axis_angle_to_rpy, rpy_to_axis_angle, rpy_to_matrix

ACTION = {
    "key": "action",
    "kind": "delta",
    "translation": [0, 1, 2],
    "rotation": [3, 4, 5],
    "rotation_format": "rpy",
    "gripper": 6,
}


def mapping(state: dict[str, Any] | None = None, out: str = "rpy", **action: Any) -> Mapping:
    content = {"cameras": {}, "action": {**ACTION, **action}, "frame": "base", "rotation_format": out}
    return Mapping.model_validate({**content, "state": state})


def info(count: int = 7, names: Any = None) -> Info:
    feature = {"dtype": "float32", "shape": [count], "names": names}
    features = {"action": feature, "state": feature}
    return Info.model_validate({"codebase_version": "v2.1", "fps": 10, "data_path": "x", "features": features})


@pytest.mark.parametrize(
    "names",
    [
        lerobot_folder.NAMES,
        {"motors": lerobot_folder.NAMES},
        {name: place for place, name in enumerate(lerobot_folder.NAMES)},
        {"arm": lerobot_folder.NAMES[:6], "hand": ["gripper"]},
    ],
)
def test_places_may_be_names_however_the_dataset_nests_them(names: Any) -> None:
    named = mapping(translation=["z", "y", "x"], rotation=["yaw", "pitch", "roll"], gripper="gripper")
    assert named.action.places(info(names=names)) == ([2, 1, 0], [5, 4, 3], 6)


@pytest.mark.parametrize("place", ["w", 7, -1])
def test_a_place_that_is_not_there_lists_those_that_are(place: Any) -> None:
    with pytest.raises(DataError, match=rf"'action' has no place {place!r}: it has 7 numbers, which are named x"):
        mapping(gripper=place).action.places(info(names=lerobot_folder.NAMES))


def read(chosen: Mapping, rows: np.ndarray, states: np.ndarray | None = None) -> np.ndarray:
    state = None if chosen.state is None or states is None else chosen.state.read(states, info(states.shape[1]))
    return motions(chosen.action.read(rows, info(rows.shape[1])), chosen, state)[0]


def test_units_and_gripper_are_converted() -> None:
    rows = np.array([[10.0, 0, -20, 90, 0, 0, 100], [0, 0, 0, 0, 0, 0, 30]])
    chosen = mapping(metres=0.001, radians=np.pi / 180, gripper_closed=100.0, gripper_open=30.0)
    expected = [[0.01, 0, -0.02, np.pi / 2, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1]]
    np.testing.assert_allclose(read(chosen, rows), expected, atol=1e-12)
    assert (read(mapping(gripper=None), rows)[:, 6] == 1).all()


def test_rotations_of_any_form_mean_the_same() -> None:
    rpy = np.array([[0.1, -0.2, 0.3], [0.0, 0.0, 0.0], [1.2, 0.4, -2.0]])
    axis = rpy_to_axis_angle(rpy)
    quaternions = np.array([axis_angle_to_quaternion(one) for one in axis])
    forms: dict[str, np.ndarray] = {"rpy": rpy, "axis_angle": axis, "quaternion": quaternions}
    for form, turn in forms.items():
        rows = np.column_stack([np.zeros((3, 3)), turn, np.ones(3)])
        places = list(range(3, 3 + turn.shape[1]))
        for out, expected in (("rpy", rpy), ("axis_angle", axis)):
            chosen = mapping(None, out, rotation_format=form, rotation=places, gripper=places[-1] + 1)
            np.testing.assert_allclose(read(chosen, rows)[:, 3:6], expected, atol=1e-9)


def poses() -> np.ndarray:
    rows = np.random.default_rng(0).uniform(-0.5, 0.5, (5, 7))
    rows[:, 6] = 1
    return rows


@pytest.mark.parametrize("out", ["rpy", "axis_angle"])
def test_targets_are_relative_to_the_pose_at_the_step(out: str) -> None:
    targets, states = poses(), poses()[::-1]
    chosen = mapping({**{k: v for k, v in ACTION.items() if k != "kind"}, "key": "state"}, out, kind="absolute")
    made = read(chosen, targets, states)
    for step in range(5):
        np.testing.assert_allclose(states[step, :3] + made[step, :3], targets[step, :3])
        turn = made[step, 3:6] if out == "rpy" else axis_angle_to_rpy(made[step, 3:6])
        reached = rpy_to_matrix(turn) @ rpy_to_matrix(states[step, 3:6])
        np.testing.assert_allclose(reached, rpy_to_matrix(targets[step, 3:6]), atol=1e-12)


def test_without_states_targets_are_relative_to_the_one_before() -> None:
    targets = poses()
    chosen = mapping(kind="absolute")
    made, faults = motions(chosen.action.read(targets, info()), chosen, None)
    assert faults == {0: NO_PREDECESSOR}
    np.testing.assert_allclose(made[1:, :3], np.diff(targets[:, :3], axis=0))


def test_a_quaternion_that_is_none_is_a_fault() -> None:
    rows = np.array([[0, 0, 0, 0, 0, 0, 1.0, 1], [0, 0, 0, 0, 0, 0, 0.0, 1]])
    made = read(mapping(rotation_format="quaternion", rotation=[3, 4, 5, 6], gripper=7), rows)
    assert np.isfinite(made).all(axis=1).tolist() == [True, False]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"action": {**ACTION, "kind": "relative"}}, "action.kind: Input should be 'delta' or 'absolute'"),
        ({"action": {**ACTION, "rotation_format": "quaternion"}}, "rotation has 3 places, quaternion has 4"),
        ({"action": {**ACTION, "gripper_open": 0.0}}, "gripper_closed and gripper_open are equal"),
        ({"action": {**ACTION, "metres": 0}}, "action.metres"),
        ({"cameras": {"front": "x"}}, "cameras.front"),
        ({"surprise": 1}, "surprise: Extra inputs"),
    ],
)
def test_mistakes_in_a_mapping_name_the_key(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    content = {"cameras": {}, "action": ACTION, "frame": "base", **change}
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(DataError, match=rf"mapping .*m\.yaml: .*{message}"):
        load_mapping(tmp_path / "m.yaml")


@pytest.mark.parametrize("text", ["[", "- 1", ""])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(DataError, match=r"m\.yaml"):
        load_mapping(tmp_path / "m.yaml")


def test_the_printed_template_reads_a_dataset_as_it_is(tmp_path: Path) -> None:
    cameras = ("observation.images.front", "observation.images.wrist")
    given = lerobot_folder.recorded(0, 5)
    root = lerobot_folder.write(tmp_path / "d", [given], cameras=cameras, stored=True)
    text = template(read_metadata(root).info)
    assert "#   action: float32 7 (x, y, z, roll, pitch, yaw, gripper)" in text
    (tmp_path / "m.yaml").write_text(text)
    with LeRobotSource(root, load_mapping(tmp_path / "m.yaml")) as source:
        assert source[0].cameras == ("static", "hand")
        np.testing.assert_array_equal(source[0].actions, given.actions.astype(np.float64))


def test_a_camera_that_is_not_there_lists_those_that_are(tmp_path: Path) -> None:
    root = lerobot_folder.write(tmp_path / "d", [lerobot_folder.recorded(0, 5)], stored=True)
    chosen = mapping().model_copy(update={"cameras": {"static": "front"}})
    with pytest.raises(DataError, match=r"camera 'static': the dataset has no images 'front'; it has observation"):
        LeRobotSource(root, chosen)


def test_features_without_names_have_none() -> None:
    assert Feature(dtype="float32", shape=(2,)).number_names == []
    assert Feature(dtype="float32", shape=(2,), names="odd").number_names == []
