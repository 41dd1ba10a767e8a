"""Runs the nodes as separate processes, plays a bag to them over DDS and keeps what comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from domain_coordinator import domain_id
from rclpy.node import Node

from robovlms_ros.replay.bag import Bag
from robovlms_ros.replay.player import BagPlayer
from robovlms_ros.ros.interfaces import ActionHistory, VLAAction
from robovlms_ros.ros.node_process import (
    NodeProcess,
    NodeProcessError,
    executable,
    node_process,
    private_environment,
    ros_arguments,
    spinning_node,
    wait_for,
    wait_until_active,
)

# The name under which replays know it.
LiveRunError = NodeProcessError

NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class ReceivedAction:
    """An action as it came in over DDS. ``latency``: seconds from its image's stamp to its reception."""

    message: Any
    latency: float

    @property
    def stamp_ns(self) -> int:
        """Stamp of the image that the action answers."""
        stamp = self.message.header.stamp
        return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


@dataclass
class LiveRun:
    """What a run gave: the stamps of the images that were published, and what came back."""

    image_stamps_ns: list[int] = field(default_factory=list)
    actions: list[ReceivedAction] = field(default_factory=list)
    histories: list[Any] = field(default_factory=list)

    @property
    def unanswered(self) -> list[int]:
        """Indices of the images for which no action came."""
        answered = {action.stamp_ns for action in self.actions}
        return [i for i, stamp in enumerate(self.image_stamps_ns) if stamp not in answered]


def run_live(
    bag: Bag,
    model: Path,
    *,
    image_topic: str,
    instruction_topic: str,
    rate: float = 1.0,
    startup_timeout: float = 60.0,
    on_image: Callable[[], None] = lambda: None,
) -> LiveRun:
    """Play ``bag`` at ``rate`` to a vla_node and an action_history_node of their own, on a private domain.

    ``model`` is a packed folder. ``on_image`` is called after every published image.

    Raises:
        LiveRunError: a node did not become active in ``startup_timeout`` seconds or exited; the message ends
            with what it logged.
    """
    remaps = {"image": image_topic, "instruction": instruction_topic}
    run = LiveRun()
    parameters = {"model.path": str(model)}
    with running_nodes(parameters, remaps, {}, startup_timeout) as (node, processes):
        player = BagPlayer(node, bag, rate=rate)
        listen(node, player, run)
        wait_for_listeners(player, (image_topic, instruction_topic), processes, startup_timeout)
        stop = threading.Event()
        for message in player.play(stop):
            for process in processes:
                process.check()
            if message.topic == image_topic:
                run.image_stamps_ns.append(_header_stamp_ns(message.data))
                on_image()
        _let_finish(run, player, stop)
    return run


@contextmanager
def running_nodes(
    parameters: Mapping[str, Any],
    remaps: Mapping[str, str],
    history_parameters: Mapping[str, Any],
    startup_timeout: float,
) -> Iterator[tuple[Node, list[NodeProcess]]]:
    """Run vla_node, until it is active, and action_history_node on a domain of their own and the bag's time.

    Yields a node that spins there, and their processes. Raises LiveRunError as `run_live` does.
    """
    clock = {"use_sim_time": True}
    with ExitStack() as stack:
        domain = stack.enter_context(domain_id())
        environment = private_environment(domain)
        vla_command = [*executable("vla_node"), *ros_arguments({**clock, **parameters}, remaps)]
        history_command = [
            *executable("action_history_node"),
            *ros_arguments({**clock, **history_parameters}),
        ]
        vla = stack.enter_context(node_process("vla_node", vla_command, environment))
        history = stack.enter_context(node_process("action_history_node", history_command, environment))
        node = stack.enter_context(spinning_node(domain, "live_run"))
        wait_until_active(node, "/vla_node", [vla, history], startup_timeout)
        yield node, [vla, history]


def listen(node: Node, player: BagPlayer, run: LiveRun) -> None:
    """Keep in ``run`` what the nodes publish."""

    def on_action(message: Any) -> None:
        received_ns = player.now_ns()
        stamp = message.header.stamp
        stamp_ns = stamp.sec * NANOSECONDS + stamp.nanosec
        run.actions.append(ReceivedAction(message, (received_ns - stamp_ns) / NANOSECONDS / player.clock.rate))

    node.create_subscription(VLAAction, "action", on_action, 100)
    node.create_subscription(ActionHistory, "action_history", run.histories.append, 100)


def wait_for_listeners(
    player: BagPlayer, topics: Collection[str], processes: Sequence[NodeProcess], timeout: float
) -> None:
    """Wait until somebody subscribes to each of ``topics``. Raises LiveRunError."""
    listened = [player.publishers[topic] for topic in topics]
    wait_for(
        lambda: all(publisher.get_subscription_count() for publisher in listened),
        f"no node subscribed to {' and '.join(topics)}",
        processes,
        timeout,
    )


def _let_finish(run: LiveRun, player: BagPlayer, stop: threading.Event, seconds: float = 2.0) -> None:
    """Wait for the answer to the last image, at most ``seconds``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        player.run_clock(0.05, stop)
        if run.image_stamps_ns and any(a.stamp_ns == run.image_stamps_ns[-1] for a in run.actions):
            player.run_clock(0.1, stop)  # one more moment for the history message of the last action
            return


def _header_stamp_ns(data: bytes) -> int:
    """The stamp of a little-endian CDR message that begins with a std_msgs/Header, without decoding its image."""
    return int.from_bytes(data[4:8], "little", signed=True) * NANOSECONDS + int.from_bytes(data[8:12], "little")
