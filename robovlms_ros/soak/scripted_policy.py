"""The null policy, which misbehaves when it is told to."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.policy.null_policy import NullPolicy
from robovlms_ros.policy.types import ActionChunk, Observation, Session

HUGE = 1e9
LEAK_BYTES = 200_000
WARM_UP = "warm up"


@dataclass(frozen=True)
class Order:
    """What the next ``count`` steps do. ``seconds`` for those that take time, ``dimension`` for bad numbers."""

    kind: str
    count: int = 1
    seconds: float = 0.0
    dimension: int = 0


Started = Callable[[int, Order | None], None]


class Orders:
    """Orders that wait to be carried out, given in one thread and taken in another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Order] = deque()

    def give(self, order: Order) -> None:
        """Add ``order`` for each of its steps. Raises ValueError for a kind that does not exist."""
        if order.kind not in KINDS:
            raise ValueError(f"no such order: {order.kind!r}; there are {', '.join(KINDS)}")
        with self._lock:
            self._waiting.extend([order] * order.count)

    def drop(self) -> None:
        """Forget all that has not begun."""
        with self._lock:
            self._waiting.clear()

    def take(self) -> Order | None:
        """Return the order for this step."""
        with self._lock:
            return self._waiting.popleft() if self._waiting else None


class ScriptedPolicy(NullPolicy):
    """Carries out ``orders``, one for each step, and is the null policy where there is none.

    ``started(nanoseconds since the epoch, order)`` is called when a step begins. Warm-up steps are not counted.
    """

    def __init__(self, orders: Orders, started: Started = lambda now_ns, order: None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._orders = orders
        self._started = started
        self._leaked: list[bytes] = []

    def session(self, execute_horizon: int = 1) -> Any:
        """Start an episode; see NullPolicy."""
        return _Session(self, super().session(execute_horizon))

    def step(self, inner: Session, observation: Observation) -> ActionChunk:
        """Take a step of ``inner`` and do to it what is ordered."""
        if observation.instruction == WARM_UP:
            return inner.step(observation)
        order = self._orders.take()
        self._started(time.time_ns(), order)
        if order is None:
            return inner.step(observation)
        if order.kind == "leak":
            self._leaked.append(bytes(LEAK_BYTES))
        time.sleep(order.seconds)
        return KINDS[order.kind](inner.step(observation), order)


class _Session:
    def __init__(self, policy: ScriptedPolicy, inner: Session) -> None:
        self._policy, self._inner = policy, inner

    def reset(self) -> None:
        self._inner.reset()

    def step(self, observation: Observation) -> ActionChunk:
        return self._policy.step(self._inner, observation)


def _unchanged(chunk: ActionChunk, order: Order) -> ActionChunk:
    return chunk


def _value(value: float) -> Callable[[ActionChunk, Order], ActionChunk]:
    def change(chunk: ActionChunk, order: Order) -> ActionChunk:
        actions: NDArray[np.float64] = chunk.actions.copy()
        actions[:, order.dimension] = value
        return ActionChunk(chunk.normalized, actions, chunk.timings)

    return change


def _six_dimensions(chunk: ActionChunk, order: Order) -> ActionChunk:
    return ActionChunk(chunk.normalized[:, :6], chunk.actions[:, :6], chunk.timings)


def _empty(chunk: ActionChunk, order: Order) -> ActionChunk:
    return ActionChunk(chunk.normalized[:0], chunk.actions[:0], chunk.timings)


def _fail(chunk: ActionChunk, order: Order) -> ActionChunk:
    raise RuntimeError("the soak asked for this exception")


KINDS: dict[str, Callable[[ActionChunk, Order], ActionChunk]] = {
    "nan": _value(np.nan),
    "inf": _value(np.inf),
    "-inf": _value(-np.inf),
    "huge": _value(HUGE),
    "six dimensions": _six_dimensions,
    "empty chunk": _empty,
    "exception": _fail,
    "sleep": _unchanged,
    "leak": _unchanged,
}
