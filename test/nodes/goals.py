"""An action client for goals of `~/run_instruction`, and a clock that a test turns."""

from __future__ import annotations

from typing import Any


class GoalClient:
    """Sends goals of `~/run_instruction` to one node and waits for what comes back."""

    def __init__(self, node: Any) -> None:
        from rclpy.action import ActionClient

        from robovlms_ros.ros.interfaces import RunInstruction

        self.node = node
        self.feedback: list[Any] = []
        self._goal = RunInstruction.Goal
        name = f"{node.prefix}vla_node/run_instruction"
        graph = node.graph
        self._client: Any = graph.between(lambda: ActionClient(graph.helper, RunInstruction, name))
        assert self._client.wait_for_server(10.0)

    def close(self) -> None:
        self.node.graph.between(self._client.destroy)

    def send(self, instruction: str = "pick", seconds: float = 0.0, steps: int = 0) -> Any:
        """Send a goal; return its handle, accepted or not."""
        from robovlms_ros.ros.messages import to_duration

        goal = self._goal(instruction=instruction, max_duration=to_duration(round(seconds * 1e9)), max_steps=steps)
        future = self._client.send_goal_async(goal, lambda message: self.feedback.append(message.feedback))
        self.node.graph.wait_for(future.done, "an answer to the goal")
        return future.result()

    def start(self, *arguments: Any, **options: Any) -> Any:
        """Send a goal that is accepted; return the future of its end."""
        self.handle = self.send(*arguments, **options)
        assert self.handle.accepted
        return self.handle.get_result_async()

    def end(self, future: Any) -> tuple[Any, int]:
        """Return the result and the status of a goal that ends."""
        self.node.graph.wait_for(future.done, "the end of the goal")
        answer = future.result()
        return answer.result, answer.status

    def assert_stopped_once(self, steps: int) -> None:
        """After ``steps`` actions there is one stop action, with the gripper held, and silence."""
        node = self.node
        node.graph.wait_for(lambda: len(node.actions) == steps + 1, "the stop action")
        assert [moving(action) for action in node.actions] == [True] * steps + [False]
        assert node.actions[-1].gripper == node.actions[-2].gripper
        node.see()
        node.graph.stays(lambda: len(node.actions) == steps + 1, 0.2)
        assert node.node._runtime is None or node.node._runtime.controller.instruction == ""


def moving(action: Any) -> bool:
    return any((action.translation.x, action.translation.y, action.translation.z))


class SimulatedClock:
    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.publisher: Any = None

    def set(self, node: Any, nanoseconds: int) -> None:
        from rosgraph_msgs.msg import Clock

        from robovlms_ros.ros.messages import to_time

        if self.publisher is None:
            self.publisher = self.graph.publisher(Clock, "/clock", 1)
        self.publisher.publish(Clock(clock=to_time(nanoseconds)))
        self.graph.wait_for(lambda: node.node.get_clock().now().nanoseconds == nanoseconds, "the simulated time")
