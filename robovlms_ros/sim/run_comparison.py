"""Whether episodes that were seen over topics are those that the same policy runs in one process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.sim.closed_loop import ClosedLoop, LoopPolicy, LoopSettings
from robovlms_ros.sim.environment import TabletopEnvironment
from robovlms_ros.sim.robot import RobotView
from robovlms_ros.sim.run_record import EpisodeRecord
from robovlms_ros.sim.tasks import draw_task


def differences(
    episodes: Sequence[EpisodeRecord], policy: LoopPolicy, image_size: int, settings: LoopSettings
) -> dict[int, str]:
    """What differs, by the number of the episode; nothing where all is the same, every bit of every image.

    Runs them again in one process, so it takes as long, without the nodes.
    """
    with TabletopEnvironment(image_size=image_size) as environment:
        loop = ClosedLoop(policy, environment, settings)
        found = {episode.number: _difference(episode, loop) for episode in episodes}
    return {number: said for number, said in found.items() if said}


def _difference(episode: EpisodeRecord, loop: ClosedLoop) -> str:
    seen: list[Mapping[str, NDArray[np.uint8] | None]] = []

    def watch(view: RobotView) -> None:
        seen.append(view.images)

    task = draw_task(episode.family, episode.seed)
    again = loop.run(episode.seed, task, episode.instruction, watch)
    seen.append(loop.robot.environment.observe().images)
    over_topics, alone = _outcome(episode.succeeded, episode.steps), _outcome(again.succeeded, again.steps)
    if over_topics != alone:
        return f"{over_topics}, in one process {alone}"
    if len(seen) != len(episode.frames):
        return f"{len(episode.frames)} images of {len(seen)} were seen"
    for step, (images, frame) in enumerate(zip(seen, episode.frames, strict=True)):
        for camera, image in frame.items():
            drawn = images[camera]
            if drawn is None or not np.array_equal(image, drawn):
                return f"the images of camera {camera!r} differ after {step} steps"
    return ""


def _outcome(succeeded: bool, steps: int) -> str:
    return f"{'success' if succeeded else 'failure'} after {steps} steps"
