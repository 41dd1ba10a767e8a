"""A policy against recordings it was not trained on: how far its action chunks are from what was done.

The session steps through an episode as it would on the robot, so this measures what the nodes run; the recorded
actions, not the predicted ones, are executed and fed back as history.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.data.episodes import Episode, EpisodeSource
from robovlms_ros.data.errors import DataError
from robovlms_ros.evaluation.errors import EvaluationError
from robovlms_ros.policy.history import ActionHistoryRing
from robovlms_ros.policy.types import Observation
from robovlms_ros.policy.vla_policy import VLAPolicy
from robovlms_ros.train.labels import OPEN_FROM, action_labels, check_source, recorded_actions

DIMENSIONS = ("x", "y", "z", "roll", "pitch", "yaw")
# Rows of history that are kept for models that look back; no published one looks back further.
HISTORY_LENGTH = 64


@dataclass(frozen=True)
class Comparison:
    """Predicted and recorded actions of one episode, ``T`` steps with chunks of ``N``, in metres and radians.

    ``predicted`` and ``recorded`` are ``(T, N, 7)``; beyond the episode's end ``recorded`` is NaN.
    """

    identifier: str
    instruction: str
    predicted: NDArray[np.float64]
    recorded: NDArray[np.float64]

    @property
    def errors(self) -> NDArray[np.float64]:
        """Signed differences of the arm's six dimensions, ``(T, N, 6)``."""
        return self.predicted[..., :6] - self.recorded[..., :6]

    @property
    def gripper_agrees(self) -> NDArray[np.float64]:
        """1 where both open or both close, 0 where not, NaN beyond the end, ``(T, N)``."""
        agrees = (self.predicted[..., 6] >= OPEN_FROM) == (self.recorded[..., 6] >= OPEN_FROM)
        return np.where(np.isnan(self.recorded[..., 6]), np.nan, agrees)


@dataclass(frozen=True)
class Summary:
    """Over all steps of all episodes; metres and radians.

    ``mean_error`` and ``p95_error`` ``(6,)`` absolute errors of the action that would be executed (row 0 of a
    chunk), ``still_error`` ``(6,)`` the mean error of never moving, which a useful model must beat.
    ``translation_by_horizon``, ``rotation_by_horizon``, ``gripper_by_horizon`` ``(N,)``: mean norm of the
    error and share of gripper agreement for each row of a chunk that any episode was long enough for.
    """

    episodes: int
    steps: int
    mean_error: NDArray[np.float64]
    p95_error: NDArray[np.float64]
    still_error: NDArray[np.float64]
    gripper_accuracy: float
    translation_by_horizon: NDArray[np.float64]
    rotation_by_horizon: NDArray[np.float64]
    gripper_by_horizon: NDArray[np.float64]


def compare_episode(policy: VLAPolicy, source: EpisodeSource, episode: Episode, length: int = 0) -> Comparison:
    """Step through ``episode`` (its first ``length`` steps, 0 = all) and compare every chunk with what was done.

    Raises `EvaluationError` where the episode lacks what the model needs, `DataError` for an unreadable image.
    """
    missing = [camera for camera in policy.cameras if camera not in episode.cameras]
    if "static" in missing:
        raise EvaluationError(
            f"episode {episode.identifier} has no images of camera 'static', which the model needs"
        )
    steps = min(length or len(episode), len(episode))
    labels = action_labels(episode.actions, episode.states, source.rotation_format, policy.profile)
    # Through the profile and back: in its rotation format, and gripper as a decision.
    recorded = recorded_actions(labels, episode.states, policy.profile)
    session, ring = policy.session(), ActionHistoryRing(HISTORY_LENGTH, labels.shape[1])
    chunks = []
    for step in range(steps):
        images = {camera: episode.image(camera, step) for camera in policy.cameras if camera not in missing}
        state = None if episode.states is None else episode.states[step]
        chunk = session.step(Observation(images, episode.instruction, state, ring.window(step - 1)))
        chunks.append(policy.profile.to_si(chunk.actions))
        ring.push(0, step, step, labels[step])
    predicted = np.stack(chunks)
    return Comparison(episode.identifier, episode.instruction, predicted, _windows(recorded, predicted.shape))


def compare(
    policy: VLAPolicy,
    source: EpisodeSource,
    indices: Sequence[int],
    dropped: Callable[[str], None],
    length: int = 0,
) -> Iterator[Comparison]:
    """Compare the episodes ``indices`` of ``source``; ``dropped(reason)`` hears of each that cannot be read.

    Raises `ConfigError` where the recordings are not of the model's robot.
    """
    check_source(source, policy.profile)
    if policy.profile.dimensions is not None:
        raise EvaluationError(
            f"robot profile {policy.profile.name!r} names dimensions of its own; this comparison is of arms"
        )
    for index in indices:
        try:
            episode = source[index]
            compared = compare_episode(policy, source, episode, length)
        except DataError as error:
            dropped(f"episode {index}: {error}")
            continue
        yield compared


def summarize(comparisons: Sequence[Comparison]) -> Summary:
    """Put all steps together. Raises `EvaluationError` where there are none."""
    if not comparisons:
        raise EvaluationError("no episode could be compared")
    errors = np.concatenate([each.errors for each in comparisons])
    agrees = np.concatenate([each.gripper_agrees for each in comparisons])
    recorded = np.concatenate([each.recorded[:, 0, :6] for each in comparisons])
    first = np.abs(errors[:, 0])
    seen = ~np.isnan(agrees).all(axis=0)  # a chunk may be longer than every episode
    errors, agrees = errors[:, seen], agrees[:, seen]
    return Summary(
        episodes=len(comparisons),
        steps=len(errors),
        mean_error=first.mean(axis=0),
        p95_error=np.percentile(first, 95, axis=0),
        still_error=np.abs(recorded).mean(axis=0),
        gripper_accuracy=float(agrees[:, 0].mean()),
        translation_by_horizon=np.nanmean(np.linalg.norm(errors[..., :3], axis=-1), axis=0),
        rotation_by_horizon=np.nanmean(np.linalg.norm(errors[..., 3:], axis=-1), axis=0),
        gripper_by_horizon=np.nanmean(agrees, axis=0),
    )


def _windows(recorded: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Row ``t`` holds actions ``t`` to ``t + N - 1``; what lies beyond the end is NaN."""
    steps, chunk, width = shape
    beyond = np.full((chunk, width), np.nan)
    padded = np.concatenate([recorded, beyond])
    return np.stack([padded[step : step + chunk] for step in range(steps)])
