"""A bag played to the real nodes over DDS, each message only when the one before it is dealt with.

What comes back is what ``robovlms replay`` says would come back; the tests hold the one against the other.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from lifecycle_msgs.srv import GetState
from rclpy.duration import Duration
from rclpy.node import Node

from robovlms_ros.replay.bag import Bag
from robovlms_ros.replay.bag_clock import NANOSECONDS
from robovlms_ros.replay.live_run import (
    LiveRun,
    LiveRunError,
    listen,
    running_nodes,
    wait_for_listeners,
)
from robovlms_ros.replay.player import BagPlayer
from robovlms_ros.ros.node_process import NodeProcess, wait_for

# Images must not be lost, nor seen without the action before them.
PARAMETERS = {"images.reliability": "reliable", "history.wait": 60.0}


def run_lock_step(
    bag: Bag,
    parameters: Mapping[str, Any],
    remaps: Mapping[str, str],
    answers_ns: Sequence[int],
    *,
    history_parameters: Mapping[str, Any] | None = None,
    rate: float = 1.0,
    timeout: float = 60.0,
) -> LiveRun:
    """Play ``bag`` to vla_node and action_history_node, and wait for each of their answers.

    Args:
        parameters: of vla_node, over `PARAMETERS`.
        remaps: what the node calls a topic -> the bag's name of it.
        answers_ns: times of the bag at which an action is expected, in order; after a message the bag's time
            stands still until as many have come. That none comes for another one is known only at the end.
        history_parameters: of action_history_node.
        rate: how fast the bag's time runs in between.
        timeout: seconds that the nodes have for starting, and for an answer.

    Raises LiveRunError where the nodes do not start, die, or an answer does not come.
    """
    run, stop = LiveRun(), threading.Event()
    given = {**PARAMETERS, **parameters}
    with running_nodes(given, remaps, history_parameters or {}, timeout) as (node, processes):
        player = BagPlayer(node, bag, rate=rate)
        listen(node, player, run)
        wait_for_listeners(player, list(remaps.values()), processes, timeout)
        barrier = _Barrier(node, player, processes, timeout)
        for message in player.play(stop):
            player.clock.pause()
            barrier.pass_through(message.topic)
            expected = bisect_right(answers_ns, message.time_ns)
            wait_for(
                partial(_have_come, run, expected),
                f"there were no {expected} actions {_seconds(bag, message.time_ns):.3f} s into the bag",
                processes,
                timeout,
                period=0.002,
            )
            player.clock.start()
        player.clock.pause()
        barrier.pass_through(None)
    return run


class _Barrier:
    """Sees to it that vla_node has heard everything that was published, by asking it something afterwards.

    A message that is acknowledged is there; the node's executor takes messages before requests. The clock is heard
    without acknowledgement and is told more than once.
    """

    def __init__(self, node: Node, player: BagPlayer, processes: Sequence[NodeProcess], timeout: float) -> None:
        self._client: Any = node.create_client(GetState, "/vla_node/get_state")
        self._player = player
        self._processes = processes
        self._timeout = timeout

    def pass_through(self, topic: str | None) -> None:
        if topic is not None:
            self._player.publishers[topic].wait_for_all_acked(Duration(seconds=self._timeout))
        for _ in range(2):
            self._player.tick()
            answered = threading.Event()
            self._client.call_async(GetState.Request()).add_done_callback(partial(_set, answered))
            deadline = time.monotonic() + self._timeout
            while not answered.wait(0.5):
                for process in self._processes:
                    process.check()
                if time.monotonic() > deadline:
                    raise LiveRunError(f"vla_node did not answer within {self._timeout:.0f} s")


def _seconds(bag: Bag, time_ns: int) -> float:
    return (time_ns - bag.contents.start_ns) / NANOSECONDS


def _have_come(run: LiveRun, count: int) -> bool:
    return len(run.actions) >= count


def _set(event: threading.Event, _: Any) -> None:
    event.set()
