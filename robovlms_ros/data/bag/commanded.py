"""Stretches of a recording without ``VLAAction``: steps are camera images, actions what the arm did in between.

From velocities (``TwistStamped``) the motion is their sum over the time to the next image, from poses
(``PoseStamped``) the way from the pose at an image to that at the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from robovlms_ros.data.bag.file import BagError
from robovlms_ros.data.bag.motions import Motion, PoseMotion, TwistMotion
from robovlms_ros.data.bag.options import TWIST, BagOptions, BagTopics
from robovlms_ros.data.bag.samples import gripper_openings, instructions
from robovlms_ros.data.bag.stretch import Stretch
from robovlms_ros.data.bag.tracks import NANOSECONDS, Stamps, Track, gap_limit, usual_period
from robovlms_ros.data.rotations import axis_angle_to_rpy

NO_GRIPPER = "the gripper has said nothing yet: give its first opening with --gripper-initial"
NO_INSTRUCTION = "no instruction yet"


def commanded_stretches(tracks: dict[str, Track], topics: BagTopics, options: BagOptions) -> list[Stretch]:
    """Stretches of one bag: divided by instruction and by pauses of the camera. Raises `BagError`."""
    track = tracks[topics.action]
    frames = sorted({message.header.frame_id for message in track.messages})
    if len(frames) > 1:
        raise BagError(f"{topics.action!r} is in the frames {', '.join(map(repr, frames))}; it must be in one")
    if not track.messages:
        return []
    twist = topics.action_type == TWIST
    motion: Motion = TwistMotion(track, options.command_timeout) if twist else PoseMotion(track)
    rotation_format = options.rotation_format or "rpy"
    stretches = []
    for times, period in image_runs(tracks[topics.images["static"]].stamps, options):
        actions, faults = motion.between(times)
        if rotation_format == "rpy":
            actions[:, 3:] = axis_angle_to_rpy(actions[:, 3:])
        gripper = None if topics.gripper is None else tracks[topics.gripper]
        # What the gripper does during a step is said until the next image.
        openings = gripper_openings(gripper, topics.gripper_type, options.gripper, times[1:])
        told = _told(tracks, topics, options, times[:-1])
        for step, (text, opening) in enumerate(zip(told, openings, strict=True)):
            if not text.strip():
                faults[step] = NO_INSTRUCTION
            elif np.isnan(opening):
                faults.setdefault(step, NO_GRIPPER)
        actions = np.column_stack([actions, np.nan_to_num(openings)])
        changes = [step for step in range(1, len(told)) if told[step] != told[step - 1]]
        for start, end in pairwise([0, *changes, len(told)]):
            stretches.append(
                Stretch(
                    instruction=told[start],
                    stamps=times[start:end],
                    actions=actions[start:end],
                    step_duration=period,
                    frame=options.frame or frames[0],
                    rotation_format=rotation_format,
                    exact=np.ones(end - start, dtype=np.bool_),
                    faults={step - start: fault for step, fault in faults.items() if start <= step < end},
                )
            )
    return stretches


def _told(tracks: dict[str, Track], topics: BagTopics, options: BagOptions, times: Stamps) -> list[str]:
    if options.instruction or topics.instruction is None:
        return [options.instruction] * len(times)
    return instructions(tracks[topics.instruction], times)


def image_runs(stamps: Stamps, options: BagOptions) -> Iterator[tuple[Stamps, float]]:
    """Stamps of the images that become steps, without pauses, and the seconds from one to the next.

    Raises `BagError` where ``options.rate`` asks for more than the camera gave.
    """
    stamps = np.unique(stamps)
    if len(stamps) < 2:
        return
    period = usual_period(stamps)
    wanted = period if options.rate is None else round(NANOSECONDS / options.rate)
    if wanted < 0.9 * period:
        raise BagError(
            f"--rate {options.rate:g} is more than the camera's {NANOSECONDS / period:.1f} images a second"
        )
    pauses = np.flatnonzero(np.diff(stamps) > gap_limit(stamps, options.max_gap)) + 1
    for run in np.split(stamps, pauses):
        chosen = run if options.rate is None else _thinned(run, wanted)
        if len(chosen) > 1:
            yield chosen, wanted / NANOSECONDS


def _thinned(stamps: Stamps, period_ns: int) -> Stamps:
    """Of ``stamps`` those nearest to a regular grid that begins with the first."""
    grid = np.arange(stamps[0], stamps[-1] + 1, period_ns)
    later = np.searchsorted(stamps, grid).clip(1, len(stamps) - 1)
    nearer = grid - stamps[later - 1] <= stamps[later] - grid
    return np.unique(np.where(nearer, stamps[later - 1], stamps[later]))
