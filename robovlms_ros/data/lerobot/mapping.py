"""What the numbers of a LeRobot dataset mean: a YAML file, because datasets differ and few say it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from robovlms_ros.data.episodes import RotationFormat
from robovlms_ros.data.errors import DataError
from robovlms_ros.data.folder.format import Camera
from robovlms_ros.data.lerobot.metadata import Feature, Info
from robovlms_ros.data.rotations import matrix_to_rpy, quaternion_to_matrix, rpy_to_axis_angle

Array = NDArray[np.float64]
Place = int | str


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PoseColumns(_Section):
    """Where translation, rotation and gripper are in a column, and their units.

    A place is a number from 0, or a name where the dataset names its numbers.
    """

    key: str
    translation: tuple[Place, Place, Place]
    rotation: tuple[Place, ...]
    rotation_format: Literal["rpy", "axis_angle", "quaternion"]
    """Of the recording; a quaternion is x y z w."""
    gripper: Place | None
    """None: the gripper is always open."""
    metres: float = Field(default=1.0, gt=0)
    """Per unit of translation."""
    radians: float = Field(default=1.0, gt=0)
    """Per unit of rotation."""
    gripper_closed: float = 0.0
    gripper_open: float = 1.0
    """The recorded numbers that mean closed and open."""

    @model_validator(mode="after")
    def _fits(self) -> PoseColumns:
        wanted = 4 if self.rotation_format == "quaternion" else 3
        if len(self.rotation) != wanted:
            raise ValueError(f"rotation has {len(self.rotation)} places, {self.rotation_format} has {wanted}")
        if self.gripper_closed == self.gripper_open:
            raise ValueError(
                "gripper_closed and gripper_open are equal; give the two numbers that the dataset has"
            )
        return self

    def places(self, info: Info) -> tuple[list[int], list[int], int | None]:
        """The places as numbers. Raises `DataError` listing the names where one is unknown."""
        feature = info.features.get(self.key)
        if feature is None:
            raise DataError(f"the dataset has no {self.key!r}; it has {', '.join(info.features)}")
        gripper = None if self.gripper is None else _number(self.gripper, self.key, feature)
        return (
            [_number(place, self.key, feature) for place in self.translation],
            [_number(place, self.key, feature) for place in self.rotation],
            gripper,
        )

    def read(self, rows: Array, info: Info) -> tuple[Array, Array, Array]:
        """Of rows ``(T, n)`` the translation in metres, rotation as axis times angle or rpy, and opening.

        The rotation is roll, pitch, yaw in radians where `rotation_format` is rpy, and axis times angle otherwise.
        """
        translation, rotation, gripper = self.places(info)
        turn = rows[:, rotation]
        if self.rotation_format == "quaternion":
            norm = np.linalg.norm(turn, axis=1, keepdims=True)
            turn = np.where(np.abs(norm - 1) < 0.01, turn / np.where(norm > 0, norm, 1), np.nan)
            turn = rpy_to_axis_angle(matrix_to_rpy(quaternion_to_matrix(turn)))
        else:
            turn = turn * self.radians
        if gripper is None:
            opening = np.ones(len(rows))
        else:
            span = self.gripper_open - self.gripper_closed
            opening = np.clip((rows[:, gripper] - self.gripper_closed) / span, 0, 1)
        return rows[:, translation] * self.metres, turn, opening


class ActionColumns(PoseColumns):
    """The action: a motion per step, or the pose to go to."""

    kind: Literal["delta", "absolute"]


class Mapping(_Section):
    """What is what in a LeRobot dataset; see docs/data.md for an example."""

    cameras: dict[Camera, str]
    action: ActionColumns
    state: PoseColumns | None = None
    frame: str = Field(min_length=1)
    rotation_format: RotationFormat = "rpy"
    """In which the actions are stored."""


def load_mapping(path: Path) -> Mapping:
    """Read a mapping. Raises `DataError` naming the key."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Mapping.model_validate(content)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"mapping {path} cannot be read: {error}") from error
    except ValidationError as error:
        problems = (
            f"{'.'.join(map(str, problem['loc'])) or 'mapping'}: {problem['msg']}"
            for problem in error.errors(include_url=False)
        )
        raise DataError(f"mapping {path}: {'; '.join(problems)}") from error


def template(info: Info) -> str:
    """A mapping to complete, with what the dataset has as comments."""
    columns = "\n".join(f"#   {name}: {_described(feature)}" for name, feature in info.features.items())
    cameras = info.cameras or ["NAME"]
    hand = f", hand: {cameras[1]}" if len(cameras) > 1 else ""
    return f"""\
# The dataset has:
{columns}
cameras: {{static: {cameras[0]}{hand}}}
action:
  key: action
  # delta: a motion per step. absolute: the pose to go to.
  kind: delta
  # Places from 0, or names.
  translation: [0, 1, 2]
  rotation: [3, 4, 5]
  # rpy, axis_angle, or quaternion (x y z w, four places).
  rotation_format: rpy
  # null: always open.
  gripper: 6
  # Per unit of translation and of rotation.
  metres: 1.0
  radians: 1.0
  gripper_closed: 0.0
  gripper_open: 1.0
# The same keys but kind, for the tool's pose at the image; null for none.
state: null
frame: base_link
"""


def _described(feature: Feature) -> str:
    names = feature.number_names
    shape = "x".join(map(str, feature.shape))
    return f"{feature.dtype} {shape}" + (f" ({', '.join(names)})" if names else "")


def _number(place: Place, key: str, feature: Feature) -> int:
    names, count = feature.number_names, int(np.prod(feature.shape)) if feature.shape else 0
    if isinstance(place, int) and 0 <= place < count:
        return place
    if isinstance(place, str) and names.count(place) == 1:
        return names.index(place)
    named = f", which are named {', '.join(names)}" if names else " and no names"
    raise DataError(f"{key!r} has no place {place!r}: it has {count} numbers{named}")
