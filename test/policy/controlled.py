"""A controller under a clock that the test turns, and a policy that is watched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from robovlms_ros.policy.controller import Controller
from robovlms_ros.policy.decision import Action, ControlSettings, Hold
from robovlms_ros.policy.frames import Frame
from robovlms_ros.policy.null_policy import NullPolicy
from robovlms_ros.policy.types import ActionChunk, Observation

MS = 1_000_000
START = 1_000_000 * MS


class Recording:
    """The null policy, with its observations kept and its answers changed where a test wants so."""

    def __init__(self, chunk: int = 1) -> None:
        self.policy = NullPolicy(chunk=chunk)
        self.profile = self.policy.profile
        self.seen: list[Observation] = []
        self.resets = 0
        self.change: Callable[[ActionChunk], ActionChunk] = lambda chunk: chunk

    def session(self, execute_horizon: int) -> Any:
        outer, session = self, self.policy.session(execute_horizon)

        class Session:
            def reset(self) -> None:
                outer.resets += 1
                session.reset()

            def step(self, observation: Observation) -> ActionChunk:
                outer.seen.append(observation)
                return outer.change(session.step(observation))

        return Session()


def make(policy: Recording, settings: ControlSettings | None = None, **arguments: Any) -> Controller:
    arguments.setdefault("cameras", ["static"])
    controller = Controller(policy.session, policy.profile, settings=settings or ControlSettings(), **arguments)
    controller.set_instruction("pick")
    return controller


def picture(stamp: int, value: int = 0) -> Frame:
    return Frame(stamp, lambda: np.full((4, 4, 3), value, np.uint8))


def step(controller: Controller, stamp: int, now: int | None = None) -> Action | Hold:
    now = stamp + 5 * MS if now is None else now
    controller.offer("static", picture(stamp), now)
    return controller.step(now)


def acted(result: Action | Hold | None) -> Action:
    assert isinstance(result, Action), result
    return result
