"""rosbag2 recordings as a source of episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.data.bag.commanded import commanded_stretches
from robovlms_ros.data.bag.file import BagError, open_bag
from robovlms_ros.data.bag.images import BagImages
from robovlms_ros.data.bag.options import BagOptions, BagTopics, find_topics
from robovlms_ros.data.bag.published import published_stretches
from robovlms_ros.data.bag.samples import Poses, gripper_openings
from robovlms_ros.data.bag.stretch import Stretch
from robovlms_ros.data.bag.tracks import NANOSECONDS, Track, nearest, read_tracks
from robovlms_ros.data.bag.vla_action import TYPE_NAME
from robovlms_ros.data.episodes import RotationFormat
from robovlms_ros.data.recorded import RecordedEpisode, faults_of
from robovlms_ros.data.report import DropReport
from robovlms_ros.data.rotations import matrix_to_rpy, quaternion_to_matrix

NO_IMAGE = "no image at the time of the action"
STOP = "stop action: no image asked for it"
NO_STATE = "no pose at the time of the image"


@dataclass(frozen=True)
class _Planned:
    """An episode before its images are read: ``images`` maps a camera to the place of each step's image, or -1."""

    path: Path
    identifier: str
    stretch: Stretch
    topics: dict[str, str]
    received: dict[str, list[int]]
    images: dict[str, NDArray[np.int64]]
    states: NDArray[np.float64] | None
    faults: dict[int, str]


class BagSource:
    """Episodes of rosbag2 recordings, see `robovlms_ros.data.episodes.EpisodeSource`. Close it, or use ``with``.

    Everything but pixels is read at once. With several bags one that cannot be read is left out and reported.

    Args:
        paths: rosbag2 folders, .mcap or .db3 files; an episode never goes from one to the next.
        options: what is where in them.
        report: takes what is left out.
        progress: told the messages that were read and those that there are.

    Raises `BagError` where a bag, or each of several, cannot be used.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        options: BagOptions | None = None,
        report: DropReport | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.options = options or BagOptions()
        self.report = DropReport() if report is None else report
        self.name = ", ".join(path.name for path in paths)
        self._images = BagImages(self.options.three_channel_order)
        self._planned: list[_Planned] = []
        self._progress = progress
        for path in paths:
            try:
                self._planned += self._plan(path)
            except BagError as error:
                if len(paths) == 1:
                    raise
                self.report.add("bag that cannot be used", "file", str(path), detail=str(error))
        if not self._planned:
            reasons = "; ".join(drop.detail or drop.reason for drop in self.report.drops[:3])
            raise BagError(f"{self.name}: no actions with images were found{': ' if reasons else ''}{reasons}")
        first = self._planned[0].stretch
        self.frame = first.frame or "unknown"
        self.rotation_format: RotationFormat = self.options.rotation_format or first.rotation_format
        self._planned = [plan for plan in self._planned if self._fits(plan)]

    def __len__(self) -> int:
        return len(self._planned)

    def __getitem__(self, index: int) -> RecordedEpisode:
        plan = self._planned[index]
        return RecordedEpisode(
            identifier=plan.identifier,
            instruction=plan.stretch.instruction,
            step_duration=plan.stretch.step_duration,
            actions=plan.stretch.rotations_as(self.rotation_format),
            cameras=tuple(plan.images),
            read_image=partial(self._image, plan),
            states=plan.states,
            stamps=plan.stretch.stamps,
            faults=plan.faults,
        )

    def close(self) -> None:
        """Close the bag that images were last read from."""
        self._images.close()

    def __enter__(self) -> BagSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _image(self, plan: _Planned, camera: str, step: int) -> bytes | NDArray[np.uint8]:
        number = int(plan.images[camera][step])
        return self._images.read(plan.path, plan.topics[camera], number, plan.received)

    def _fits(self, plan: _Planned) -> bool:
        if (plan.stretch.frame or "unknown") == self.frame:
            return True
        reason = f"actions in frame {plan.stretch.frame!r}, those before are in {self.frame!r}"
        self.report.add(reason, "episode", plan.identifier)
        return False

    def _plan(self, path: Path) -> list[_Planned]:
        name = path.stem if path.is_file() else path.name

        def unreadable(file: Path, reason: str) -> None:
            self.report.add("file that cannot be read", "file", file.name, detail=reason)

        with open_bag(path, unreadable) as bag:
            topics = find_topics(bag.contents, self.options)
            wanted = {*topics.small, *topics.images.values()}
            total = sum(bag.contents.counts.get(topic, 0) for topic in wanted)
            done = 0

            def tick() -> None:
                nonlocal done
                done += 1
                if done % 100 == 0 or done == total:
                    self._progress(done, total)

            tracks = read_tracks(bag, name, topics, self.report, tick)
        if topics.action_type == TYPE_NAME:
            stretches = published_stretches(tracks[topics.action], name, self.options, self.report)
        else:
            stretches = commanded_stretches(tracks, topics, self.options)
        received = {topic: tracks[topic].received for topic in topics.images.values()}
        return [
            self._planned_episode(path, f"{name}/{number}", stretch, topics, tracks, received)
            for number, stretch in enumerate(stretches)
        ]

    def _planned_episode(
        self,
        path: Path,
        identifier: str,
        stretch: Stretch,
        topics: BagTopics,
        tracks: dict[str, Track],
        received: dict[str, list[int]],
    ) -> _Planned:
        slop_ns = round(self.options.slop * NANOSECONDS)
        images = {
            camera: nearest(tracks[topic].stamps, stretch.stamps, slop_ns)
            for camera, topic in topics.images.items()
        }
        faults = dict(faults_of(stretch.actions))
        found = np.min([*images.values()], axis=0) >= 0
        exactly = np.any(
            [np.isin(stretch.stamps, tracks[topic].stamps) for topic in topics.images.values()], axis=0
        )
        faults.update(dict.fromkeys(np.flatnonzero(~found).tolist(), NO_IMAGE))
        faults.update(dict.fromkeys(np.flatnonzero(stretch.exact & ~exactly).tolist(), STOP))
        states = self._states(stretch, topics, tracks, faults)
        return _Planned(
            path, identifier, stretch, topics.images, received, images, states, {**faults, **stretch.faults}
        )

    def _states(
        self, stretch: Stretch, topics: BagTopics, tracks: dict[str, Track], faults: dict[int, str]
    ) -> NDArray[np.float64] | None:
        """Pose and opening at every image; the opening is the last one commanded where none was recorded."""
        if topics.state is None:
            return None
        poses = Poses(tracks[topics.state])
        places = nearest(poses.stamps, stretch.stamps, round(self.options.slop * NANOSECONDS))
        faults.update(dict.fromkeys(np.flatnonzero(places < 0).tolist(), NO_STATE))
        if topics.gripper is None:
            opening = np.concatenate([stretch.actions[:1, 6], stretch.actions[:-1, 6]])
        else:
            track = tracks[topics.gripper]
            opening = gripper_openings(track, topics.gripper_type, self.options.gripper, stretch.stamps)
        states = np.zeros((len(stretch.stamps), 7))
        if len(poses.stamps):
            states[:, :3] = poses.positions[places]
            states[:, 3:6] = matrix_to_rpy(quaternion_to_matrix(poses.quaternions[places]))
        states[:, 6] = opening
        faults.update(faults_of(states))
        return np.nan_to_num(states)
