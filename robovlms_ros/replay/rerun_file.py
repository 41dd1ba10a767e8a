"""Recordings for the Rerun viewer (https://rerun.io): cameras, actions, chunks and texts on one time line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.data.images import encode
from robovlms_ros.replay.errors import ReplayError
from robovlms_ros.replay.result import ACTING, ImageReference, ReplayResult

TIMELINE = "time"
DIMENSIONS = ("x", "y", "z", "rot_x", "rot_y", "rot_z", "gripper")
# Millimetres, degrees, opening.
SCALES = (1e3, 1e3, 1e3, 180 / np.pi, 180 / np.pi, 180 / np.pi, 1.0)
QUALITY = 85
COLOURS = {"action": (209, 73, 91), "recorded": (48, 99, 142)}


class RerunFile:
    """Writes one ``.rrd`` file; a context manager. Times are nanoseconds, of the bag's or of the ROS clock.

    Raises ModuleNotFoundError without the extra ``rerun``, `ReplayError` where the file cannot be written.
    """

    def __init__(self, path: Path, cameras: Sequence[str] = ("static", "hand")) -> None:
        import rerun

        self._rerun = rerun
        self._stream = rerun.RecordingStream("robovlms_ros")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.open("wb").close()  # the SDK writes in a thread of its own, whose errors nobody hears
            self._stream.save(path, default_blueprint=_layout(cameras))
        except OSError as error:
            raise ReplayError(f"{path} cannot be written: {error.strerror or error}") from error
        for kind, colour in COLOURS.items():
            for name in DIMENSIONS:
                line = rerun.SeriesLines(colors=[colour], names=[f"{kind} {name}"])
                self._stream.log(f"{kind}/{name}", line, static=True)

    def __enter__(self) -> RerunFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def image(self, camera: str, pixels: NDArray[np.uint8], time_ns: int) -> None:
        """Add an image ``(H, W, 3)`` uint8 RGB of a camera, as a JPEG."""
        self.jpeg(camera, encode(pixels, "jpeg", QUALITY), time_ns)

    def jpeg(self, camera: str, data: bytes, time_ns: int, kind: str = "jpeg") -> None:
        """Add an image that is a JPEG or PNG file already."""
        picture = self._rerun.EncodedImage(contents=data, media_type=f"image/{kind}")
        self._log(f"camera/{camera}", picture, time_ns)

    def action(self, row: Sequence[float], time_ns: int, kind: str = "action", saturated: int = 0) -> None:
        """Add an action ``(7,)`` in metres, radians and opening; ``kind`` is ``action`` or ``recorded``."""
        for name, value, scale in zip(DIMENSIONS, row, SCALES, strict=True):
            self._log(f"{kind}/{name}", self._rerun.Scalars(float(value) * scale), time_ns)
        if saturated:
            limited = ", ".join(name for i, name in enumerate(DIMENSIONS) if saturated >> i & 1)
            self.text(f"limited: {limited}", time_ns, "WARN")

    def chunk(self, rows: Sequence[Sequence[float]], time_ns: int) -> None:
        """Add a predicted chunk ``(N, 7)``: the way that its translations lead, from the tool, in metres."""
        way = np.vstack([np.zeros(3), np.cumsum(np.asarray(rows, np.float64)[:, :3], axis=0)])
        self._log("chunk/way", self._rerun.LineStrips3D([way], colors=[(201, 138, 16)]), time_ns)
        self._log("chunk/steps", self._rerun.Points3D(way[1:], colors=[(201, 138, 16)]), time_ns)

    def seconds(self, name: str, value: float, time_ns: int) -> None:
        """Add a time that something took, shown in milliseconds."""
        self._log(f"timing/{name}", self._rerun.Scalars(value * 1e3), time_ns)

    def instruction(self, text: str, time_ns: int) -> None:
        """Add what is to be done from now on."""
        self._log("instruction", self._rerun.TextDocument(text, media_type="text/plain"), time_ns)

    def text(self, text: str, time_ns: int, level: str = "INFO") -> None:
        """Add a line of the log."""
        self._log("log", self._rerun.TextLog(text, level=level), time_ns)

    def close(self) -> None:
        """Write what is left."""
        self._stream.flush()
        self._stream.disconnect()

    def _log(self, entity: str, what: Any, time_ns: int) -> None:
        self._stream.set_time(TIMELINE, timestamp=np.datetime64(time_ns, "ns"))
        self._stream.log(entity, what)


def write_rerun(
    path: Path, result: ReplayResult, images: Iterable[tuple[ImageReference, NDArray[np.uint8]]]
) -> None:
    """Write a replay; ``images`` are those of ``result.images()``, in the order in which they are read."""
    cameras: dict[tuple[str, int], str] = {}
    for inference in result.inferences:
        for camera, reference in inference.images.items():
            cameras[reference.topic, reference.number] = camera
    with RerunFile(path, sorted(set(cameras.values()), reverse=True)) as file:
        for reference, pixels in images:
            file.image(cameras[reference.topic, reference.number], pixels, reference.time_ns)
        told = None
        for inference in result.inferences:
            if inference.instruction != told:
                told = inference.instruction
                file.instruction(told, inference.start_ns)
            if inference.actions:
                file.chunk(inference.actions, inference.start_ns)
            if inference.outcome != ACTING:
                file.text(f"inference {inference.number}: {inference.outcome}", inference.start_ns, "WARN")
            for name, value in inference.timings.items():
                file.seconds(name, value, inference.start_ns)
        for action in result.actions:
            file.action(action.action, action.time_ns, "action", action.saturated)
        for recorded in result.recorded:
            file.action(recorded.action, recorded.time_ns, "recorded")
        for event in result.events:
            said = ": ".join(part for part in (event.kind, event.detail or event.topic) if part)
            file.text(said, event.time_ns, "INFO" if event.kind == "instruction" else "WARN")


def _layout(cameras: Sequence[str]) -> Any:
    """How the viewer shows it at first."""
    import rerun.blueprint as parts

    def plot(name: str, dimensions: Sequence[str]) -> Any:
        contents = [f"/{kind}/{dimension}" for kind in COLOURS for dimension in dimensions]
        return parts.TimeSeriesView(name=name, origin="/", contents=contents)

    looks = [parts.Spatial2DView(name=camera, origin=f"/camera/{camera}") for camera in cameras]
    left = parts.Vertical(
        *looks,
        parts.Spatial3DView(name="predicted way", origin="/chunk"),
        parts.TextDocumentView(name="instruction", origin="/instruction"),
        parts.TextLogView(name="log", origin="/log"),
        row_shares=[3] * len(looks) + [3, 1, 2],
    )
    right = parts.Vertical(
        plot("translation, mm", DIMENSIONS[:3]),
        plot("rotation, degrees", DIMENSIONS[3:6]),
        plot("gripper", DIMENSIONS[6:]),
        parts.TimeSeriesView(name="timing, ms", origin="/timing"),
    )
    return parts.Blueprint(parts.Horizontal(left, right), collapse_panels=True)
