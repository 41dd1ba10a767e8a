"""CALVIN's folder format: one ``.npz`` per frame, and language annotations that name stretches of frames.

Written from the data set's own description (mees/calvin, dataset/README.md): ``rel_actions`` are motions in the
world's frame times 50 (metres) and 20 (radians), clipped to [-1, 1], and a gripper command, -1 = close, 1 = open.
``robot_obs`` begins with the tool's position, its angles about fixed axes and the gripper's width in metres.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.data.episodes import RotationFormat
from robovlms_ros.data.errors import DataError
from robovlms_ros.data.inert_npy import read_inert_npy
from robovlms_ros.data.pixels import PixelError
from robovlms_ros.data.recorded import RecordedEpisode, faults_of

ANNOTATIONS = "auto_lang_ann.npy"
CAMERA_KEYS = {"static": "rgb_static", "hand": "rgb_gripper"}
STEP_DURATION = 1 / 30
# Of the unit of rel_actions: metres and radians.
TRANSLATION_UNIT, ROTATION_UNIT = 1 / 50, 1 / 20
# Width in metres of a Franka hand that is open.
OPEN_WIDTH = 0.08
NO_FRAME = "the frame's file is missing or damaged"
BAD_GRIPPER = "the gripper command is not in [-1, 1]"

# What NumPy and zipfile raise at a damaged file, or at one that claims to hold more than there is memory.
_DAMAGE = (OSError, ValueError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error)
# Frames of a segment: more is a mistake in the annotations, or worse.
_LONGEST = 100_000
_FRAME = re.compile(r"episode_(\d+)\.npz")


class CalvinSource:
    """The annotated segments of one split, see `robovlms_ros.data.episodes.EpisodeSource`.

    As upstream counts them, a segment (start, end) has the frames start ... end - 1.

    Args:
        folder: ``training`` or ``validation`` of a CALVIN data set.
        annotations: the sub-folder with ``auto_lang_ann.npy``.

    Raises `DataError` where the folder is none of CALVIN's, or its annotations cannot be read.
    """

    rotation_format: RotationFormat = "rpy"
    frame = "world"

    def __init__(self, folder: Path, annotations: str = "lang_annotations") -> None:
        self.folder = folder
        self.name = f"{folder.resolve().parent.name}/{folder.resolve().name}"
        self._digits = _digits(folder)
        self._segments = _read_segments(_find_annotations(folder, annotations))
        self._frames: dict[int, dict[str, NDArray[Any]]] = {}

    def __len__(self) -> int:
        return len(self._segments)

    def __getitem__(self, index: int) -> RecordedEpisode:
        instruction, start, end = self._segments[index]
        rows = np.zeros((end - start, 14))
        details: dict[int, str] = {}
        cameras: tuple[str, ...] | None = None
        for step, frame in enumerate(range(start, end)):
            try:
                with self._open(frame) as file:
                    rows[step] = _numbers(file)
                    if cameras is None:
                        cameras = tuple(camera for camera, key in CAMERA_KEYS.items() if key in file)
            except DataError as error:
                details[step] = str(error)
        actions, states = rows[:, :7], rows[:, 7:]
        faults = faults_of(actions, states)
        actions[:, 6], beyond = _opening(actions[:, 6])
        faults.update(dict.fromkeys(np.flatnonzero(beyond).tolist(), BAD_GRIPPER))
        faults.update(dict.fromkeys(details, NO_FRAME))
        states[:, 6] = np.clip(states[:, 6] / OPEN_WIDTH, 0, 1)
        return RecordedEpisode(
            identifier=f"{start:0{self._digits}d}-{end:0{self._digits}d}",
            instruction=instruction,
            step_duration=STEP_DURATION,
            actions=actions * ([TRANSLATION_UNIT] * 3 + [ROTATION_UNIT] * 3 + [1]),
            cameras=cameras or (),
            read_image=partial(self._image, start),
            states=states,
            faults=faults,
            details=details,
        )

    def _image(self, start: int, camera: str, step: int) -> NDArray[np.uint8]:
        frame = start + step
        if frame not in self._frames:
            # One frame is kept: its cameras are asked for one after the other.
            try:
                with self._open(frame) as file:
                    self._frames = {frame: {key: _read(file, key) for key in CAMERA_KEYS.values() if key in file}}
            except DataError as error:
                raise PixelError(str(error)) from error
        pixels = self._frames[frame].get(CAMERA_KEYS[camera])
        if pixels is None or pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            found = "nothing" if pixels is None else f"{pixels.dtype} {pixels.shape}"
            raise PixelError(f"frame {frame}: {CAMERA_KEYS[camera]} is {found}, not (height, width, 3) uint8")
        return pixels

    def _open(self, frame: int) -> _Frame:
        return _Frame(self.folder / f"episode_{frame:0{self._digits}d}.npz")


class _Frame:
    """An ``.npz`` file in a ``with``, whose damage is a `DataError`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Any:
        try:
            self._file = np.load(self._path, allow_pickle=False)
        except _DAMAGE as error:
            raise DataError(f"{self._path.name}: {error}") from error
        if not isinstance(self._file, np.lib.npyio.NpzFile):
            raise DataError(f"{self._path.name} is no .npz file")
        return self._file

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._file.close()
        if isinstance(error, DataError):
            raise DataError(f"{self._path.name}: {error}") from error


def _read(file: Any, key: str) -> NDArray[Any]:
    """One array of a frame. Object arrays are pickles and are refused, like damaged ones."""
    try:
        return np.asarray(file[key])
    except KeyError:
        raise DataError(f"it has no {key}") from None
    except _DAMAGE as error:
        raise DataError(f"{key}: {error}") from error


def _numbers(file: Any) -> NDArray[np.float64]:
    """The action (7) and, of the robot's state, tool pose and gripper width (7)."""
    action, state = _read(file, "rel_actions"), _read(file, "robot_obs")
    for name, array, shape in (("rel_actions", action, (7,)), ("robot_obs", state, (15,))):
        if array.shape != shape or array.dtype.kind != "f":
            raise DataError(f"{name} is {array.dtype} {array.shape}, not {shape} numbers")
    return np.concatenate([action, state[:7]]).astype(np.float64)


def _opening(command: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """-1 ... 1 as an opening, and where a command is neither."""
    beyond = np.abs(command) > 1
    return np.asarray((np.clip(command, -1, 1) + 1) / 2), np.asarray(beyond)


def _digits(folder: Path) -> int:
    """How many digits the numbers of the frames have."""
    try:
        for path in folder.iterdir():
            if match := _FRAME.fullmatch(path.name):
                return len(match[1])
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error}; name a split such as task_D_D/training") from error
    splits = [name for name in ("training", "validation") if (folder / name).is_dir()]
    hint = f"name {' or '.join(str(folder / name) for name in splits)}" if splits else "name a CALVIN split"
    raise DataError(f"{folder} has no episode_*.npz; {hint}")


def _find_annotations(folder: Path, name: str) -> Path:
    path = folder / name / ANNOTATIONS
    if path.is_file():
        return path
    found = sorted(other.parent.name for other in folder.glob(f"*/{ANNOTATIONS}"))
    hint = f"; --annotations may be {', '.join(found)}" if found else ": only frames with language can be used"
    raise DataError(f"{path} does not exist{hint}")


def _read_segments(path: Path) -> list[tuple[str, int, int]]:
    """(instruction, first frame, frame after the last) of each annotation."""
    content = read_inert_npy(path)
    try:
        texts, segments = content["language"]["ann"], content["info"]["indx"]
        pairs = [(_text(text), int(start), int(end)) for text, (start, end) in zip(texts, segments, strict=True)]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} is no annotation of CALVIN's: it needs language/ann and info/indx of equal lengths ({error})"
        ) from error
    wrong = next((pair for pair in pairs if not 0 <= pair[1] < pair[2] <= pair[1] + _LONGEST), None)
    if wrong is not None:
        raise DataError(f"{path}: the segment {wrong[1:]} of {wrong[0]!r} has no frames, or too many")
    return pairs


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"an annotation is {type(value).__name__}, not text")
    return value
