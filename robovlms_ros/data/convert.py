"""Any source of episodes to a dataset folder: images encoded, faulty steps left out, everything counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from robovlms_ros.data.episodes import Episode, EpisodeSource, check_rows
from robovlms_ros.data.errors import DataError
from robovlms_ros.data.folder.batches import StoredEpisode
from robovlms_ros.data.folder.format import Camera, DatasetInfo, ImageFormat, Origin
from robovlms_ros.data.folder.reader import FolderEpisode
from robovlms_ros.data.folder.writer import SHARD_BYTES, DatasetWriter
from robovlms_ros.data.images import decode, encode, resize
from robovlms_ros.data.pixels import PixelError
from robovlms_ros.data.recorded import RecordedEpisode
from robovlms_ros.data.report import Drop, DropReport, group_drops, note

# Images that are held in memory before an episode is divided, whatever its length.
PART_BYTES = 256 * 2**20
Progress = Callable[[int, int], None]
"""Called with the source episodes that are done and those that there are."""


def convert(
    source: EpisodeSource,
    folder: Path,
    origin: Origin,
    *,
    images: ImageFormat | None = None,
    cameras: Sequence[str] | None = None,
    report: DropReport | None = None,
    progress: Progress = lambda done, total: None,
    shard_bytes: int = SHARD_BYTES,
) -> DatasetInfo:
    """Write ``source`` to a dataset folder, or continue where an interrupted run ended; returns what is there.

    Args:
        source: the episodes.
        folder: made where it is absent.
        origin: what the source is and how it was read; only an import of the same is continued.
        images: how images are stored; JPEG of quality 95 where None.
        cameras: those to keep; None takes the cameras of the first episode. Episodes that lack one are dropped.
        report: what reading the source has dropped already; it and what is dropped here end up in the dataset.
        progress: told after every episode.
        shard_bytes: size of a file of the dataset.

    An episode is divided where a step cannot be used, because actions follow each other in time. Raises
    `DataError` where nothing is left, and where the disk takes no more.
    """
    images = images or ImageFormat()
    report = DropReport() if report is None else report
    first = _first_readable(source)
    info = DatasetInfo(
        name=source.name,
        cameras=cast("tuple[Camera, ...]", tuple(first.cameras if cameras is None else cameras)),
        rotation_format=source.rotation_format,
        frame=source.frame,
        step_duration=first.step_duration,
        images=images,
        origin=origin,
    )
    with DatasetWriter(folder, info, shard_bytes=shard_bytes) as writer:
        dropped: list[Drop] = []
        for index in range(writer.next_source, len(source)):
            parts = _parts(source, index, info.cameras, images, dropped)
            part = next(parts, None)
            while part is not None:
                following = next(parts, None)
                if following is None:
                    # What comes after the last part belongs to it, or an interruption could lose it.
                    part = replace(part, dropped=(*part.dropped, *dropped))
                    dropped.clear()
                writer.add(index, part, last=following is None)
                part = following
            progress(index + 1, len(source))
        if not writer.episodes:
            raise DataError(f"{source.name}: no episode is left: {_reasons([*report.drops, *dropped])}")
        return writer.finish([*report.drops, *dropped])


def _first_readable(source: EpisodeSource) -> Episode:
    problem: DataError | None = None
    for index in range(len(source)):
        try:
            return source[index]
        except DataError as error:
            problem = problem or error
    raise problem or DataError(f"{source.name} has no episodes")


def _reasons(dropped: Sequence[Drop]) -> str:
    groups = group_drops(dropped)
    return "; ".join(f"{group.reason} ({group.count} {group.unit}s)" for group in groups) or "it had none"


def _parts(
    source: EpisodeSource, index: int, cameras: Sequence[str], images: ImageFormat, dropped: list[Drop]
) -> Iterator[StoredEpisode]:
    """The usable stretches of one episode, each as soon as it ends; it takes along what was dropped until then."""
    try:
        episode = source[index]
        states, stamps = episode.states, getattr(episode, "stamps", None)
        if not isinstance(episode, RecordedEpisode):
            check_rows(episode.identifier, "actions", episode.actions)
    except DataError as error:
        dropped.append(Drop(reason="unreadable episode", unit="episode", episode=str(index), detail=str(error)))
        return
    lacking = [camera for camera in cameras if camera not in episode.cameras]
    if lacking:
        reason = f"no camera {', '.join(lacking)}"
        dropped.append(Drop(reason=reason, unit="episode", episode=episode.identifier))
        return
    files: list[dict[str, bytes]] = []
    size, number = 0, 0

    def part(end: int) -> StoredEpisode:
        steps = slice(end - len(files), end)
        made = StoredEpisode(
            identifier=f"{episode.identifier}.{number}" if number else episode.identifier,
            instruction=episode.instruction,
            step_duration=episode.step_duration,
            actions=episode.actions[steps],
            states=None if states is None else states[steps],
            stamps=None if stamps is None else stamps[steps],
            images={camera: [step[camera] for step in files] for camera in cameras},
            dropped=tuple(dropped),
        )
        dropped.clear()
        files.clear()
        return made

    for step in range(len(episode)):
        encoded = _encoded(episode, step, cameras, images)
        if not isinstance(encoded, Drop):
            files.append(encoded)
            size += sum(map(len, encoded.values()))
        if files and (isinstance(encoded, Drop) or size > PART_BYTES):
            yield part(step if isinstance(encoded, Drop) else step + 1)
            size, number = 0, number + 1
        if isinstance(encoded, Drop):
            note(dropped, encoded)
    if files:
        yield part(len(episode))


def _encoded(episode: Episode, step: int, cameras: Sequence[str], images: ImageFormat) -> dict[str, bytes] | Drop:
    """The files of one step, or why it cannot be used."""
    if isinstance(episode, RecordedEpisode) and step in episode.faults:
        return Drop(
            reason=episode.faults[step],
            unit="step",
            episode=episode.identifier,
            step=step,
            detail=episode.details.get(step, ""),
        )
    files = {}
    for camera in cameras:
        try:
            files[camera] = _stored_image(episode, camera, step, images)
        except (PixelError, DataError) as error:
            return Drop(
                reason=f"unusable image of camera {camera}",
                unit="step",
                episode=episode.identifier,
                step=step,
                detail=str(error),
            )
    return files


def _stored_image(episode: Episode, camera: str, step: int, images: ImageFormat) -> bytes:
    if isinstance(episode, RecordedEpisode):
        found = episode.read_image(camera, step)
    elif isinstance(episode, FolderEpisode):
        found = episode.encoded(camera, step)
    else:
        found = episode.image(camera, step)
    if isinstance(found, bytes):
        pixels = decode(found)  # also where the file is kept: a corrupt one must not get in
        if images.keep_recorded and images.resize is None:
            return found
    else:
        pixels = found
    if images.resize is not None:
        pixels = resize(pixels, images.resize)
    return encode(pixels, images.encoding, images.quality)
