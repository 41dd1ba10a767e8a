"""Plays a rosbag2 bag with its clock, where `ros2 bag play --clock` is absent; ends with the bag."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.node import Node
from std_srvs.srv import SetBool

from robovlms_ros.replay.bag import BagError, open_bag
from robovlms_ros.replay.player import BagPlayer
from robovlms_ros.ros.bag_player_parameters import BAG_PLAYER_NODE
from robovlms_ros.ros.help import Endpoint, help_text, wants_help
from robovlms_ros.ros.parameters import Parameters
from robovlms_ros.ros.run import run

ENDPOINTS = (
    Endpoint("/clock", "publishes", "rosgraph_msgs/msg/Clock", "the bag's time, for nodes with use_sim_time"),
    Endpoint("~/set_paused", "serves", "std_srvs/srv/SetBool", "let the bag's time stand still, or go on"),
)
EXAMPLES = (
    "ros2 launch robovlms_ros replay.launch.py bag:=/path/to/bag model:=/path/to/packed image:=/camera/image_raw",
    "ros2 run robovlms_ros bag_player_node --ros-args -p bag:=/path/to/bag -p rate:=0.5",
    "ros2 run robovlms_ros bag_player_node --ros-args -p bag:=run.mcap -r /camera/image_raw:=/image",
    "ros2 service call /bag_player_node/set_paused std_srvs/srv/SetBool '{data: true}'",
)
POLL = 0.2
JOIN_TIMEOUT = 1.0


class BagPlayerNode(Node):
    """Publishes every topic of the bag under its own name; remap them as those of any node.

    ``ended()`` is called, from the playing thread, when nothing more will be published.
    """

    def __init__(self, ended: Callable[[], None] = lambda: None, **node_arguments: Any) -> None:
        super().__init__("bag_player_node", **node_arguments)
        self.failed = False
        """Whether the bag could not be played to its end."""
        self.loops = 0
        """How often it was played to its end."""
        self._ended = ended
        self._stop = threading.Event()
        self._open = ExitStack()
        self._player: BagPlayer | None = None
        # None: nobody has asked yet, the parameter counts.
        self._paused: bool | None = None
        self._lock = threading.Lock()
        self._declared = Parameters(self, BAG_PLAYER_NODE, locked=lambda: True, apply=self._apply)
        self.create_service(SetBool, "~/set_paused", self._on_set_paused)
        self._thread = threading.Thread(target=self._run, name="bag player", daemon=True)
        self._thread.start()

    def halt(self) -> None:
        """Publish nothing more. Safe from any thread."""
        self._stop.set()

    def close(self) -> bool:
        """Wait a little for the thread and close the bag; return whether it ended."""
        self._stop.set()
        self._thread.join(JOIN_TIMEOUT)
        if self._thread.is_alive():
            return False
        self._open.close()
        return True

    def _run(self) -> None:
        try:
            self._play()
        except (BagError, ValueError) as error:
            self.failed = True
            self.get_logger().fatal(str(error))
        self._ended()

    def _play(self) -> None:
        values = self._declared.values()
        if not values["bag"]:
            raise BagError("no bag: set the parameter bag (launch argument bag:=) to a rosbag2 folder or file")
        path = Path(values["bag"]).expanduser()
        bag = self._open.enter_context(open_bag(path))
        if not sum(bag.contents.counts.values()):
            raise BagError(f"{path} is empty: it holds no message at all")
        player = BagPlayer(
            self, bag, rate=values["rate"], clock_rate=values["clock_rate"], unknown=self._leave_out
        )
        self._wait_for(values["wait_for"])
        with self._lock:
            self._player = player
            if self._paused is None:
                self._paused = bool(values["paused"])
        seconds = (bag.contents.end_ns - bag.contents.start_ns) * 1e-9
        self.get_logger().info(f"playing {path}, {seconds:.1f} s: {bag.contents.listed()}")
        while not self._stop.is_set():
            messages = player.play(self._stop, values["start"], paused=bool(self._paused))
            count = sum(1 for _ in messages)
            if self._stop.is_set():
                return
            self.loops += 1
            self.get_logger().info(f"played {count} messages")
            if not self._declared.current["loop"]:
                return

    def _wait_for(self, name: str) -> None:
        """Wait until a lifecycle node is active."""
        if not name:
            return
        client: Any = self.create_client(GetState, f"{name}/get_state")
        self.get_logger().info(f"waiting until {name} is active")
        while not self._stop.is_set():
            if client.service_is_ready():
                answered = threading.Event()
                future = client.call_async(GetState.Request())
                future.add_done_callback(lambda _, event=answered: event.set())
                if answered.wait(POLL) and future.result().current_state.id == State.PRIMARY_STATE_ACTIVE:
                    break
            self._stop.wait(POLL)
        self.destroy_client(client)

    def _leave_out(self, topic: str, reason: str) -> None:
        self.get_logger().warning(f"left out {topic}: {reason}")

    def _apply(self, values: Mapping[str, Any]) -> None:
        if self._player:
            self._player.clock.rate = values["rate"]

    def _on_set_paused(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        with self._lock:
            self._paused = request.data
            if self._player:
                (self._player.clock.pause if request.data else self._player.clock.start)()
        response.success = True
        response.message = "paused" if request.data else "playing"
        return response


def main() -> None:
    """Run the node until the bag is over, or print its help."""
    if wants_help(sys.argv):
        print(  # noqa: T201
            help_text("bag_player_node", str(__doc__), ENDPOINTS, BAG_PLAYER_NODE, EXAMPLES)
        )
        return
    nodes: list[BagPlayerNode] = []

    def end() -> None:
        os.kill(os.getpid(), signal.SIGINT)  # to the process: a signal to this thread would not wake the main one

    def make(context: Any) -> Node:
        nodes.append(BagPlayerNode(end, context=context))
        return nodes[0]

    code = run(make)
    sys.exit(code or int(nodes[0].failed))
