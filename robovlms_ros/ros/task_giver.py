"""Tells a policy what to do: on the topic `instruction`, and as a goal that begins an episode of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.action.client import ActionClient
from rclpy.node import Node
from std_msgs.msg import String

from robovlms_ros.ros import qos
from robovlms_ros.ros.clock import steady_timer
from robovlms_ros.ros.interfaces import RunInstruction

# As vla_node offers it, in our namespace.
ACTION = "vla_node/run_instruction"
PERIOD = 0.1
# So often a goal is sent again to a policy that has refused it, and so long its end is waited for.
RETRY_TICKS, END_TICKS = 5, 20
TOLD_TICKS = 50


class TaskGiver:
    """Gives one instruction at a time. All callbacks come from the executor's thread.

    ``goals`` False: the topic alone, and every request is fulfilled at once. ``lost(why)`` tells that a goal ended
    which was not taken back.
    """

    def __init__(self, node: Node, goals: bool, lost: Callable[[str], None]) -> None:
        self._node, self._lost = node, lost
        self._topic = node.create_publisher(String, "instruction", qos.latched())
        self._client: Any = None
        self._text = ""
        self._turn = 0
        self._handle: Any = None
        self._given: Callable[[], None] | None = None
        self._ended: Callable[[], None] | None = None
        self._ticks = 0
        self._asked: int | None = None
        if goals:
            # Before Kilted rclpy does not apply a remapping to the name of an action.
            self._client = ActionClient(node, RunInstruction, node.resolve_service_name(ACTION))
            steady_timer(node, PERIOD, self._tick)

    @property
    def waiting(self) -> bool:
        """Whether no policy has taken the instruction yet."""
        return self._given is not None

    def give(self, instruction: str, given: Callable[[], None]) -> None:
        """Tell ``instruction``; ``given()`` is called when the policy has it."""
        self._topic.publish(String(data=instruction))
        if self._client is None:
            given()
            return
        self._turn += 1
        self._text, self._given, self._ticks = instruction, given, 0
        self._send()

    def take_back(self, ended: Callable[[], None]) -> None:
        """End what was given; ``ended()`` is called when the policy has stopped, or does not answer."""
        self._given = None
        if self._client is None or self._handle is None:
            self._turn += 1
            ended()
            return
        self._ended, self._ticks = ended, 0
        self._handle.cancel_goal_async()

    def destroy(self) -> None:
        """Give the client back."""
        if self._client is not None:
            self._client.destroy()

    def _send(self) -> None:
        """Send the goal, unless its answer is still to come: a node that loads a model takes its time."""
        if not self._client.server_is_ready():
            self._asked = None
            return
        if self._asked == self._turn:
            return
        turn = self._asked = self._turn
        future = self._client.send_goal_async(RunInstruction.Goal(instruction=self._text))
        future.add_done_callback(lambda done: self._on_answer(turn, done.result()))

    def _on_answer(self, turn: int, handle: Any) -> None:
        if turn == self._asked:
            self._asked = None
        if not handle.accepted:
            return  # the timer tries again
        if turn != self._turn or self._given is None:
            handle.cancel_goal_async()
            return
        self._handle = handle
        handle.get_result_async().add_done_callback(lambda done: self._on_result(handle, done.result().result))
        given, self._given = self._given, None
        given()

    def _on_result(self, handle: Any, result: Any) -> None:
        if handle is not self._handle:
            return
        self._handle = None
        if self._ended is not None:
            self._end()
        else:
            self._lost(result.message or "the policy ended it")

    def _end(self) -> None:
        ended, self._ended, self._handle = self._ended, None, None
        if ended is not None:
            ended()

    def _tick(self) -> None:
        self._ticks += 1
        if self._ended is not None and self._ticks >= END_TICKS:
            self._node.get_logger().warning("the policy does not answer that it has ended its goal")
            self._end()
        elif self._given is not None:
            if self._ticks % RETRY_TICKS == 0:
                self._send()
            if self._ticks % TOLD_TICKS == 0:
                self._node.get_logger().warning(f"no policy has taken the instruction yet: {self._obstacle()}")

    def _obstacle(self) -> str:
        name = self._node.resolve_service_name(ACTION)
        if not self._client.server_is_ready():
            return f"{name} is not there"
        return f"{name} {'refuses it; see its log' if self._asked is None else 'has not answered'}"
