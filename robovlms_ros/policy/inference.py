"""The slow part of a control step: decode the images, run the policy, check what came out."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.policy.decision import Request
from robovlms_ros.policy.safety import check_chunk
from robovlms_ros.policy.types import ActionChunk, Observation, Session

# The image of the action published last may be one inference old, where the next has begun.
LOOKS = 3


class Inference:
    """Runs requests on a session of the policy, which it starts again where a request does not continue it.

    Belongs to one thread. ``make_session(execute_horizon)`` starts a session.
    """

    def __init__(self, make_session: Callable[[int], Session]) -> None:
        self._make_session = make_session
        self._session: Session | None = None
        self._last: Request | None = None
        self._looks: deque[tuple[int, Mapping[str, NDArray[np.uint8]]]] = deque(maxlen=LOOKS)

    @property
    def episode(self) -> int | None:
        """The episode that the session is in; None before the first."""
        return self._last.episode if self._last else None

    def run(self, request: Request) -> ActionChunk:
        """Return the checked answer to ``request``, with the wait and the decoding among its timings.

        For what it raises see `Controller.infer`.
        """
        started = time.perf_counter()
        images = {camera: frame.decode() for camera, frame in request.chosen.frames.items()}
        decode = time.perf_counter() - started
        self._looks.append((request.chosen.stamp_ns, images))
        session = self._session_for(request)
        chunk = session.step(Observation(images, request.instruction, request.state, request.history))
        check_chunk(chunk)
        if not chunk.timings:  # by contract: the session only went on with its last chunk
            return chunk
        return replace(chunk, timings={"wait": request.waited_ns * 1e-9, "decode": decode, **chunk.timings})

    def look(self, stamp_ns: int) -> Mapping[str, NDArray[np.uint8]]:
        """The images of that of the last requests with this stamp; empty where they are gone. For any thread."""
        return next((images for stamp, images in tuple(self._looks) if stamp == stamp_ns), {})

    def _session_for(self, request: Request) -> Session:
        last, self._last = self._last, request
        if self._session is None or last is None or last.execute_horizon != request.execute_horizon:
            self._session = self._make_session(request.execute_horizon)
        elif last.continued_by(request):
            return self._session
        self._session.reset()
        return self._session
