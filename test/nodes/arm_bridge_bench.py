"""An arm_bridge_node in a private graph: what it is sent, and what it makes of it."""

from __future__ import annotations

from typing import Any

from geometry_msgs.msg import PoseStamped, TwistStamped
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from robovlms_ros.nodes.arm_bridge_node import ArmBridgeNode
from robovlms_ros.ros.interfaces import VLAAction
from robovlms_ros.ros.messages import to_duration, to_nanoseconds, to_time

MS = 1_000_000
SECOND = 1000 * MS
# So that nothing is stale or silent only because the machine is busy.
PATIENT = {"max_age": 30.0, "pose.max_age": 30.0, "timeout": 30.0}


class ArmBench:
    """The node, patient but for ``parameters``, everything it publishes, and publishers of actions and poses."""

    def __init__(self, graph: Any, parameters: dict[str, Any] | None = None, **arguments: Any) -> None:
        self.graph = graph
        overrides = [Parameter(name, value=value) for name, value in (PATIENT | (parameters or {})).items()]
        self.node = graph.add(ArmBridgeNode(context=graph.context, parameter_overrides=overrides, **arguments))
        prefix = f"{arguments['namespace']}/" if "namespace" in arguments else ""
        self.twists = graph.collect(TwistStamped, f"{prefix}twist", 100)
        self.poses = graph.collect(PoseStamped, f"{prefix}target_pose", 100)
        self.arrays = graph.collect(Float64MultiArray, f"{prefix}array", 100)
        self.trajectories = graph.collect(JointTrajectory, f"{prefix}trajectory", 100)
        self.actions = graph.publisher(VLAAction, f"{prefix}action", 100)
        self.tool = graph.publisher(PoseStamped, f"{prefix}tool_pose", 10)
        listeners = self.node._commands.listeners
        graph.wait_for(lambda: all(listeners().values()), "listeners of every output")
        self.sequence = 0
        self._clock: Any = None

    @property
    def bridge(self) -> Any:
        return self.node._bridge

    @property
    def counts(self) -> dict[str, int]:
        return dict(self.bridge.counts)

    def message(self, **changes: Any) -> VLAAction:
        """2 cm along x and a tenth of a radian about z in 0.1 s, gripper open, of an image taken now."""
        message = VLAAction(gripper=1.0, sequence=self.sequence)
        message.header.stamp = to_time(self.node.get_clock().now().nanoseconds)
        message.header.frame_id = "base_link"
        message.translation.x, message.rotation.z = 0.02, 0.1
        message.step_duration = to_duration(100 * MS)
        for name, value in changes.items():
            target, attribute = message, name
            while "__" in attribute:
                first, attribute = attribute.split("__", 1)
                target = getattr(target, first)
            setattr(target, attribute, value)
        self.sequence += 1
        return message

    def act(self, **changes: Any) -> VLAAction:
        """Publish an action and wait until the node has taken it, or refused it."""
        message, received = self.message(**changes), self.bridge.received
        self.actions.publish(message)
        self.graph.wait_for(lambda: self.bridge.received > received, "the action's arrival")
        return message

    def see_tool(self, x: float = 0.5, frame: str = "base_link", stamp_ns: int | None = None) -> None:
        """Publish a pose of the tool and wait until the node has it."""
        message = PoseStamped()
        now = self.node.get_clock().now().nanoseconds if stamp_ns is None else stamp_ns
        message.header.stamp, message.header.frame_id = to_time(now), frame
        message.pose.position.x, message.pose.orientation.w = x, 1.0
        self.tool.publish(message)
        self.graph.wait_for(lambda: self.bridge.pose.tool_ns == now, "the tool's pose")

    def set_clock(self, nanoseconds: int) -> None:
        """Turn the simulated clock and wait until everything that was due has been done."""
        if self._clock is None:
            self._clock = self.graph.publisher(Clock, "/clock", 10)
        self._clock.publish(Clock(clock=to_time(nanoseconds)))
        ros_time = self.node.get_clock().now
        self.graph.wait_for(lambda: ros_time().nanoseconds == nanoseconds, "the simulated time")
        self.graph.wait_for(lambda: (self.bridge.due_ns or nanoseconds + 1) > nanoseconds, "what was due")

    def wait_for_twist(self, count: int) -> TwistStamped:
        self.graph.wait_for(lambda: len(self.twists) >= count, f"{count} velocities")
        return self.twists[count - 1]

    def wait_for_count(self, reason: str, count: int = 1) -> None:
        self.graph.wait_for(lambda: self.counts.get(reason, 0) >= count, f"{count} x {reason}: {self.counts}")


def velocity(message: TwistStamped) -> list[float]:
    linear, angular = message.twist.linear, message.twist.angular
    return [linear.x, linear.y, linear.z, angular.x, angular.y, angular.z]


def stamp(message: Any) -> int:
    return to_nanoseconds(message.header.stamp)
