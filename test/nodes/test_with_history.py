"""Both nodes in one process: the same windows as in two, and one orderly end."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
from sensor_msgs.msg import Image
from std_msgs.msg import String

from robovlms_ros.policy.history import ActionHistoryRing
from robovlms_ros.policy.null_policy import NullPolicy
from robovlms_ros.policy.types import Observation
from robovlms_ros.ros import qos
from robovlms_ros.ros.interfaces import VLAAction

# The executable with a null policy that tells what windows it is shown, and when a history has arrived.
TELLING_NODE = """
import json, sys
from robovlms_ros.nodes.vla_node import main
from robovlms_ros.policy.controller import Controller
from robovlms_ros.policy.null_policy import NullPolicy, NullSession

def tell(*words):
    print(*words, file=sys.stderr, flush=True)

class Telling(NullSession):
    def step(self, observation):
        if observation.instruction != "warm up":
            window = observation.history
            rows = [row.tolist() if valid else None for row, valid in zip(window.actions, window.valid)]
            tell("window", json.dumps([observation.instruction, rows]))
        return super().step(observation)

class TellingPolicy(NullPolicy):
    def session(self, execute_horizon=1):
        return Telling(self.cameras, 1, 0.0, execute_horizon)

take = Controller.set_history

def set_history(self, episode, sequence, window):
    take(self, episode, sequence, window)
    tell("heard", episode, sequence)

Controller.set_history = set_history
main(lambda values: TellingPolicy())
"""
# A node that moves something, and one whose callback fails.
FAILING_NODES = """
import sys
from rclpy.node import Node
from robovlms_ros.ros.run import run

def tell(word):
    print(word, file=sys.stderr, flush=True)

class Mover(Node):
    def halt(self):
        tell("halted")

    def close(self):
        tell("closed")
        return True

class Failing(Node):
    def fail(self):
        raise RuntimeError("a callback failed")

def make_nodes(context):
    mover, failing = Mover("mover", context=context), Failing("failing", context=context)
    failing.create_timer(0.05, failing.fail)
    return [mover, failing]

sys.exit(run(make_nodes))
"""
LENGTH = ["--ros-args", "-p", "history.length:=4"]
# What starts the nodes: the arguments of the telling node, and whether a process of the other is there, too.
ARRANGEMENTS = {
    "two processes": (LENGTH, True),
    "one process": (["--with-history", *LENGTH], False),
    "internal": ([*LENGTH, "-p", "history.source:=internal"], False),
}


class Run:
    """One arrangement, driven in lock-step: the next image follows when the last action has come back."""

    def __init__(self, start: Any, graph: Any, arrangement: str) -> None:
        arguments, separate = ARRANGEMENTS[arrangement]
        self.graph = graph
        self.echoes = arrangement != "internal"
        self.process = start("-c", TELLING_NODE, *arguments)
        self.others = [start("scripts/action_history_node", *LENGTH)] if separate else []
        self.actions = graph.collect(VLAAction, "action", qos.action_listener())
        self.camera = graph.helper.create_publisher(Image, "image", 10)
        self.speaker = graph.helper.create_publisher(String, "instruction", qos.latched())
        graph.wait_for(lambda: self.camera.get_subscription_count(), "the camera is heard", timeout=30)
        graph.wait_for(lambda: graph.helper.count_publishers("/action"), "the actions are heard")
        self.say("first")
        self.see(0)
        # Discovery takes its time; from the first history that arrives on, none is lost.
        while self.echoes and not self.process.said("heard"):
            self.see(0)
            graph.wait_for(lambda: self.process.said("heard") or len(self.actions) > 0, "a history")

    def say(self, text: str) -> None:
        self.speaker.publish(String(data=text))
        self.graph.wait_for(
            lambda: self.process.said(f"instruction '{text}'"), f"the node hears {text!r}", timeout=30
        )

    def see(self, value: int) -> Any:
        """Show an image of one grey and return the action that answers it."""
        image = self.graph.image(value=value)
        self.camera.publish(image)
        return self.graph.wait_for(
            lambda: next((action for action in self.actions if action.header.stamp == image.header.stamp), None),
            "an action for the image",
        )

    def step(self, value: int) -> Any:
        """Show an image, and wait until its action is part of the history."""
        action = self.see(value)
        if self.echoes:
            heard = f"heard {action.episode} {action.sequence}"
            self.graph.wait_for(lambda: heard in self.process.lines, heard)
        return action

    def windows(self, instruction: str) -> list[Any]:
        told = [json.loads(line.removeprefix("window ")) for line in self.process.said("window ")]
        return [rows for text, rows in told if text == instruction]


@pytest.fixture(params=ARRANGEMENTS)
def arrangement(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def expected(actions: list[Any]) -> list[Any]:
    """The windows before each of an episode's ``actions``: the four before it, None where there was none."""
    rows = [None] * 4 + [action.model_action.tolist() for action in actions]
    return [rows[number : number + 4] for number in range(len(actions))]


def offline(instruction: str, steps: int) -> Iterator[Any]:
    """What the policy answers without ROS, when each answer is part of the next window."""
    session, ring = NullPolicy().session(), ActionHistoryRing(4)
    for step in range(steps):
        pixels = np.full((48, 64, 3), 10 * step, np.uint8)
        chunk = session.step(Observation({"static": pixels}, instruction, history=ring.window()))
        ring.push(0, step, step, chunk.normalized[0])
        yield chunk.normalized[0]


def test_the_policy_sees_the_same_windows_however_the_nodes_are_arranged(
    start: Any, graph: Any, arrangement: str
) -> None:
    run = Run(start, graph, arrangement)
    run.say("pick")
    picked = [run.step(10 * number) for number in range(7)]
    run.say("push")
    pushed = [run.step(10 * number) for number in range(3)]
    assert run.windows("pick") == expected(picked)
    assert run.windows("push") == expected(pushed)
    np.testing.assert_array_equal([action.model_action for action in picked], list(offline("pick", 7)))
    assert [action.sequence for action in picked + pushed] == [*range(7), *range(3)]
    codes = [process.end(signal.SIGTERM)[0] for process in (run.process, *run.others)]
    assert set(codes) == {0}


def test_what_one_node_lets_through_stops_the_arm_of_the_other_and_ends_the_process(start: Any) -> None:
    process = start("-c", FAILING_NODES)
    code = process.popen.wait(30)
    process._reader.join(5)
    assert code == 1
    assert [line for line in process.lines if line in ("halted", "closed")] == ["halted", "closed"]
    assert process.said("RuntimeError: a callback failed")


@pytest.mark.parametrize(
    ("rules", "names"),
    [
        ([], {"/vla_node", "/action_history_node"}),
        (["__node:=left"], {"/left", "/action_history_node"}),
        (["vla_node:__node:=left", "action_history_node:__node:=right"], {"/left", "/right"}),
        (["__ns:=/robot"], {"/robot/vla_node", "/robot/action_history_node"}),
    ],
)
def test_the_two_nodes_never_get_one_name(start: Any, graph: Any, rules: list[str], names: set[str]) -> None:
    arguments = [word for rule in rules for word in ("-r", rule)]
    process = start("scripts/vla_node", "--with-history", "--ros-args", *arguments)

    def found() -> set[str]:
        return {f"{at.rstrip('/')}/{name}" for name, at in graph.helper.get_node_names_and_namespaces()}

    graph.wait_for(lambda: names <= found(), f"{names}; there were {found()}", timeout=30)
    assert process.end(signal.SIGINT)[0] == 0


def test_a_misspelt_option_is_refused(start: Any) -> None:
    process = start("scripts/vla_node", "--with-histroy")
    assert process.popen.wait(30) == 1
    process._reader.join(5)
    assert process.lines == ["unknown argument '--with-histroy': there are --with-history, --help and --ros-args"]
