"""Recordings to replay, and replays of them with the null policy: microseconds, no torch."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import bags
import numpy as np

from robovlms_ros.policy.null_policy import NullPolicy
from robovlms_ros.policy.parameter_tables import VLA_NODE
from robovlms_ros.policy.types import ActionChunk, Observation
from robovlms_ros.replay.replay import ReplayOptions, replay
from robovlms_ros.replay.result import ReplayResult

IMAGE, HAND, INSTRUCTION = "/camera/image_raw", "/wrist/image_raw", "/instruction"
PERIOD = 0.1
ARRIVAL = 0.01
"""Seconds from the stamp of an image to its reception."""
SPOKEN = "pick up the cup"


class Scripted(NullPolicy):
    """The null policy; ``script`` changes its answers, and what it saw is in ``seen``."""

    def __init__(
        self, script: Callable[[Observation, ActionChunk], ActionChunk] | None = None, **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        self.seen: list[Observation] = []
        self._script = script

    def session(self, execute_horizon: int = 1) -> Any:
        policy, inner = self, super().session(execute_horizon)

        class Session:
            reset = staticmethod(inner.reset)

            def step(self, observation: Observation) -> ActionChunk:
                chunk = inner.step(observation)
                if observation.instruction == "warm up":
                    return chunk
                policy.seen.append(observation)
                return policy._script(observation, chunk) if policy._script else chunk

        return Session()


def look(writer: Any, number: int, seconds: float, topic: str = IMAGE, side: int = 8) -> None:
    writer.put(topic, bags.image(bags.picture(number, side), seconds), seconds + ARRIVAL)


def record(
    path: Path,
    images: int = 6,
    storage: str = "mcap",
    *,
    kind: str = "",
    hand: bool = False,
    side: int = 8,
    said: Sequence[tuple[float, str]] = ((-0.05, SPOKEN),),
    extra: Callable[[Any], None] = lambda writer: None,
) -> Path:
    """A bag of ``images`` 0.1 s apart, of the camera and the hand's; ``kind`` compresses them ("png", "jpeg")."""
    with bags.bag(path, storage) as writer:
        for seconds, text in said:
            writer.put(INSTRUCTION, bags.text(text), seconds)
        for i in range(images):
            for topic, on, offset in ((IMAGE, True, 0.0), (HAND, hand, 0.02)):
                if on and kind:
                    message = bags.compressed(bags.picture(i), i * PERIOD + offset, kind)
                    writer.put(f"{topic}/compressed", message, i * PERIOD + offset + ARRIVAL)
                elif on:
                    look(writer, i, i * PERIOD + offset, topic, side)
        extra(writer)
    return path


def split(path: Path, *parts: Path) -> Path:
    """One bag of the files of several, without the metadata that would say so."""
    path.mkdir()
    for number, part in enumerate(parts):
        (file,) = [*part.glob("*.mcap"), *part.glob("*.db3")]
        shutil.copy(file, path / f"{path.name}_{number}{file.suffix}")
    return path


def parameters(**given: Any) -> dict[str, Any]:
    """All of vla_node's; ``images__max_age`` is images.max_age."""
    return {**VLA_NODE.defaults(), **{name.replace("__", "."): value for name, value in given.items()}}


def replayed(path: Path, policy: Any = None, options: ReplayOptions | None = None, **given: Any) -> ReplayResult:
    options = changed(options or ReplayOptions(), parameters=parameters(**given))
    return replay(path, policy or NullPolicy(), options)


def rows(result: ReplayResult) -> np.ndarray:
    return np.array([action.action for action in result.actions if not action.stop])


def stamps(result: ReplayResult) -> list[float]:
    """Stamps of all actions in seconds since the first image."""
    return [round((action.stamp_ns - bags.START_NS) / 1e9, 6) for action in result.actions]


def times(result: ReplayResult) -> list[float]:
    """When the actions left, in seconds since the first image's stamp."""
    return [round((action.time_ns - bags.START_NS) / 1e9, 6) for action in result.actions]
