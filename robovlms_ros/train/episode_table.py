"""What is known of all episodes before the first image is read: lengths, instructions, labels, states.

About 60 bytes per step, in a few arrays that worker processes share. What cannot be used is left out here, with a
line in the report, and the rest is kept.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.data.episodes import Episode, EpisodeSource
from robovlms_ros.data.errors import DataError
from robovlms_ros.data.report import DropReport
from robovlms_ros.model.errors import ConfigError, ModelError, ObservationError
from robovlms_ros.policy.robot_profile import RobotProfile
from robovlms_ros.train.labels import action_labels, check_rate, check_source

logger = logging.getLogger(__name__)
# From this share of labels at the end of their range on, the profile is hardly that of the data.
_SATURATED = 0.05


@dataclass(frozen=True)
class Needs:
    """What a model needs of an episode.

    ``instruction_ids`` gives the token ids of an instruction; it raises `ObservationError` for one that cannot be
    used.
    """

    profile: RobotProfile
    cameras: tuple[str, ...]
    instruction_ids: Callable[[str], list[int]]
    with_gripper: bool = True
    states: bool = False
    frame: str | None = None


@dataclass(frozen=True)
class EpisodeTable:
    """Episodes one behind the other; step ``s`` of episode ``e`` is row ``starts[e] + s``.

    ``where`` ``(E, 2)``: number of the source, and of the episode in it. ``starts`` ``(E + 1,)``. ``labels``
    ``(steps, action_dim)`` float32, normalised. ``states`` ``(steps, 7)`` float32, or None. ``instruction_of``
    ``(E,)``: number of an episode's instruction in ``instructions`` and ``prompts``, its token ids.
    """

    where: NDArray[np.int64]
    starts: NDArray[np.int64]
    identifiers: Sequence[str]
    instructions: Sequence[str]
    prompts: Sequence[list[int]]
    instruction_of: NDArray[np.int64]
    labels: NDArray[np.float32]
    states: NDArray[np.float32] | None
    dropped: DropReport

    def __len__(self) -> int:
        return len(self.where)

    def length(self, episode: int) -> int:
        """Steps of an episode."""
        return int(self.starts[episode + 1] - self.starts[episode])

    def select(self, episodes: Sequence[int]) -> EpisodeTable:
        """These episodes alone, in this order."""
        rows = [np.arange(self.starts[e], self.starts[e + 1]) for e in episodes]
        steps = np.concatenate(rows) if rows else np.zeros(0, np.int64)
        return EpisodeTable(
            where=self.where[list(episodes)],
            starts=np.cumsum([0, *map(len, rows)]),
            identifiers=[self.identifiers[e] for e in episodes],
            instructions=self.instructions,
            prompts=self.prompts,
            instruction_of=self.instruction_of[list(episodes)],
            labels=self.labels[steps],
            states=None if self.states is None else self.states[steps],
            dropped=self.dropped,
        )


def read_table(sources: Sequence[EpisodeSource], needs: Needs) -> EpisodeTable:
    """One pass over all episodes, without their images.

    Raises `ConfigError` where a source as a whole does not fit the robot, or nothing is left of all of them.
    """
    for source in sources:
        check_source(source, needs.profile, needs.frame)
    report, prompts = DropReport(), _Prompts(needs.instruction_ids)
    where, identifiers, instruction_of = [], [], []
    labels: list[NDArray[np.float32]] = []
    states: list[NDArray[np.float32]] = []
    for number, index, episode in _readable(sources, report):
        source = sources[number]
        try:
            prompt = prompts.number(episode.instruction)
            rows, state = _rows(episode, source, needs)
        except _UnusableError as error:
            report.add(error.reason, "episode", f"{source.name}/{episode.identifier}", detail=str(error))
            continue
        where.append((number, index))
        identifiers.append(f"{source.name}/{episode.identifier}")
        instruction_of.append(prompt)
        labels.append(rows)
        if state is not None:
            states.append(state)
    if not labels:
        raise ConfigError(f"no episode can be used: {_summary(report) or 'there is none'}")
    table = EpisodeTable(
        where=np.array(where, np.int64),
        starts=np.cumsum([0, *map(len, labels)]),
        identifiers=identifiers,
        instructions=prompts.texts,
        prompts=prompts.ids,
        instruction_of=np.array(instruction_of, np.int64),
        labels=np.concatenate(labels),
        states=np.concatenate(states) if states else None,
        dropped=report,
    )
    if len(report):
        logger.warning("%d episodes left out of %d: %s", len(report), len(report) + len(table), _summary(report))
    _warn_of_saturation(table, needs.profile)
    return table


class _UnusableError(ModelError):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class _Prompts:
    """Token ids of every instruction, once."""

    def __init__(self, encode: Callable[[str], list[int]]) -> None:
        self._encode = encode
        self._numbers: dict[str, int] = {}
        self.texts: list[str] = []
        self.ids: list[list[int]] = []

    def number(self, text: str) -> int:
        text = text.strip()
        if text not in self._numbers:
            try:
                self.ids.append(self._encode(text))
            except ObservationError as error:
                raise _UnusableError("unusable instruction", str(error)) from error
            self._numbers[text] = len(self.texts)
            self.texts.append(text)
        return self._numbers[text]


def _readable(sources: Sequence[EpisodeSource], report: DropReport) -> Iterator[tuple[int, int, Episode]]:
    for number, source in enumerate(sources):
        for index in range(len(source)):
            try:
                yield number, index, source[index]
            except DataError as error:
                report.add("unreadable", "episode", f"{source.name}, number {index}", detail=str(error))


def _rows(
    episode: Episode, source: EpisodeSource, needs: Needs
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    missing = [camera for camera in needs.cameras if camera not in episode.cameras]
    if missing:
        there = ", ".join(episode.cameras) or "no camera"
        raise _UnusableError("camera missing", f"the model takes {', '.join(missing)}, there is {there}")
    if rate := check_rate(episode, needs.profile):
        raise _UnusableError("another rate than the robot profile's", rate)
    try:
        states = episode.states
        if states is None and (needs.states or needs.profile.predicted_in == "tool"):
            raise _UnusableError("robot state missing", "the model or its robot profile needs the robot's state")
        labels = action_labels(episode.actions, states, source.rotation_format, needs.profile, needs.with_gripper)
    except DataError as error:
        raise _UnusableError("unusable numbers", str(error)) from error
    wrong = np.argwhere(~np.isfinite(labels))
    if len(wrong):
        raise _UnusableError("unusable numbers", f"step {wrong[0][0]}: the action is not finite")
    return labels, np.asarray(states, np.float32) if states is not None and needs.states else None


def _summary(report: DropReport) -> str:
    return "; ".join(
        f"{group.reason}: {group.count} ({group.examples[0]}{', ...' if group.count > 1 else ''})"
        for group in report.groups()
    )


def _warn_of_saturation(table: EpisodeTable, profile: RobotProfile) -> None:
    share = (np.abs(table.labels[:, : profile.pose_dim]) >= 1).mean(axis=0)
    high = [f"number {i}: {value:.0%}" for i, value in enumerate(share) if value > _SATURATED]
    if high:
        logger.warning(
            "many recorded actions are beyond what the model can express with robot profile %r (%s) and will be "
            "clipped; compute its statistics from this data",
            *(profile.name, ", ".join(high)),
        )
