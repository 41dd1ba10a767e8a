"""A bag played into the graph: its pace, its end, its beginning again, and bags that cannot be played."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import bags
import pytest
from replaying import IMAGE, PERIOD, record

pytest.importorskip("rclpy")
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import SetBool

from robovlms_ros.nodes.bag_player_node import BagPlayerNode
from robovlms_ros.ros import qos
from robovlms_ros.ros.messages import to_nanoseconds

ROOT = Path(__file__).resolve().parents[2]
FIRST = bags.START_NS


class Player:
    """The node under test, paused until the test's subscriptions are matched."""

    def __init__(self, graph: Any, path: Path, **parameters: Any) -> None:
        self.graph = graph
        self.ended: list[bool] = []
        self.images = graph.collect(Image, IMAGE, 100)
        self.clock = graph.collect(Clock, "/clock", 1000)
        given = {"bag": str(path), "paused": True, "rate": 4.0, **parameters}
        self.node = graph.add(
            BagPlayerNode(
                lambda: self.ended.append(True),
                context=graph.context,
                parameter_overrides=[Parameter(name, value=value) for name, value in given.items()],
            )
        )
        self._pause = graph.helper.create_client(SetBool, "/bag_player_node/set_paused")

    def begin(self) -> Player:
        self.graph.wait_for(lambda: any(p.get_subscription_count() for p in self._images_out()), "a match")
        self.pause(False)
        return self

    def _images_out(self) -> list[Any]:
        return [publisher for publisher in self.node.publishers if publisher.topic_name == IMAGE]

    def pause(self, paused: bool) -> None:
        self.graph.wait_for(self._pause.service_is_ready, "the pause service")
        future = self._pause.call_async(SetBool.Request(data=paused))
        self.graph.wait_for(future.done, "its answer")
        assert future.result().success

    def stamps(self) -> list[float]:
        return [round((to_nanoseconds(image.header.stamp) - FIRST) / 1e9, 3) for image in self.images]


def test_it_plays_once_and_ends(graph: Any, tmp_path: Path) -> None:
    player = Player(graph, record(tmp_path / "bag", 4)).begin()
    graph.wait_for(lambda: player.ended, "the end of the bag", timeout=40)
    graph.wait_for(lambda: len(player.images) == 4, "all images")
    assert player.stamps() == [0.0, 0.1, 0.2, 0.3]
    assert not player.node.failed
    times = [to_nanoseconds(message.clock) for message in player.clock]
    assert times == sorted(times)


def test_a_pause_holds_the_clock_and_the_messages(graph: Any, tmp_path: Path) -> None:
    player = Player(graph, record(tmp_path / "bag", 3), rate=1.0)
    graph.wait_for(lambda: len(player.clock) > 5, "the clock of a paused player")
    assert {to_nanoseconds(message.clock) for message in player.clock} == {bags.ns(-0.05)}
    assert not player.images
    player.begin()
    graph.wait_for(lambda: player.images, "an image")
    player.pause(True)
    seen = len(player.clock)
    graph.wait_for(lambda: len(player.clock) > seen + 10, "a clock that stands still")
    assert len({to_nanoseconds(message.clock) for message in list(player.clock)[-5:]}) == 1
    player.pause(False)
    graph.wait_for(lambda: len(player.images) == 3, "the rest")


def test_it_begins_late_and_says_what_was_latched_before(graph: Any, tmp_path: Path) -> None:
    player = Player(graph, record(tmp_path / "bag", 6), start=0.4).begin()
    graph.wait_for(lambda: player.ended, "the end", timeout=40)
    graph.wait_for(lambda: len(player.images) == 2, "the images after the start")
    assert player.stamps() == [0.4, 0.5]  # the start counts from the instruction, 0.05 s before the first image
    heard = graph.collect(String, "/instruction", qos.latched())
    graph.wait_for(lambda: heard, "the instruction")


def test_on_a_loop_the_clock_jumps_back_and_vla_node_begins_an_episode(
    graph: Any, vla: Any, tmp_path: Path
) -> None:
    remaps = ["--ros-args", "-r", f"image:={IMAGE}"]
    given = {"use_sim_time": True, "images.reliability": "reliable"}
    acting = vla(parameters=given, cli_args=remaps)
    player = Player(graph, record(tmp_path / "bag", 4), loop=True, rate=2.0)
    player.node.set_parameters([Parameter("rate", value=1.0)])
    player.begin()
    graph.wait_for(lambda: player.node.loops >= 2, "two rounds", timeout=30)
    player.node.set_parameters([Parameter("loop", value=False)])
    graph.wait_for(lambda: player.ended, "the end of the last round", timeout=30)
    times = [to_nanoseconds(message.clock) for message in player.clock]
    backward = [after for before, after in pairwise(times) if after < before]
    assert len(backward) == player.node.loops - 1
    graph.wait_for(lambda: {action.episode for action in acting.actions} >= {0, 1}, "actions of two episodes")
    assert acting.counts()["clock jump"] >= 1


@pytest.mark.parametrize("what", ["nothing", "no bag", "empty"])
def test_what_cannot_be_played_is_said_and_ends_with_1(tmp_path: Path, what: str) -> None:
    given = {
        "nothing": "",
        "no bag": str(tmp_path / "none"),
        "empty": str(record(tmp_path / "bag", 0, said=())),
    }[what]
    words = ["--ros-args", "-p", f"bag:={given}"] if given else []
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "bag_player_node", *words],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "ROS_DOMAIN_ID": "97"},
    )
    assert done.returncode == 1, done.stderr
    expected = {"nothing": "set the parameter bag", "no bag": "does not exist", "empty": "is empty"}[what]
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_a_type_that_this_environment_does_not_know_is_left_out(graph: Any, tmp_path: Path) -> None:
    from rosbags.typesys import get_types_from_msg

    bags.STORE.register(get_types_from_msg("float64 angle\n", "acme_msgs/msg/Lever"))

    def lever(writer: Any) -> None:
        writer.put("/lever", bags.STORE.types["acme_msgs/msg/Lever"](angle=1.0), PERIOD)

    player = Player(graph, record(tmp_path / "bag", 2, extra=lever)).begin()
    graph.wait_for(lambda: player.ended, "the end", timeout=40)
    graph.wait_for(lambda: len(player.images) == 2, "the images")
    assert not player.node.failed
