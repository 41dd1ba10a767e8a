"""Actions in, commands for arm controllers out: velocities, target poses, gripper positions, several at once."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from typing import Any

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node

from robovlms_ros.policy.arm_bridge import ArmBridge, BridgeSettings, Commands
from robovlms_ros.policy.arm_command import CommandError
from robovlms_ros.ros import qos
from robovlms_ros.ros.arm_bridge_parameters import ARM_BRIDGE_NODE, bridge_settings, gripper_duration_ns
from robovlms_ros.ros.arm_bridge_status import bridge_status
from robovlms_ros.ros.arm_messages import arm_action, measured_pose
from robovlms_ros.ros.arm_publisher import CommandPublisher
from robovlms_ros.ros.clock import Alarm, now_ns, steady_timer
from robovlms_ros.ros.diagnostics import DiagnosticsPublisher
from robovlms_ros.ros.help import Endpoint, help_text, wants_help
from robovlms_ros.ros.interfaces import VLAAction
from robovlms_ros.ros.messages import to_nanoseconds
from robovlms_ros.ros.parameters import Parameters
from robovlms_ros.ros.run import run

ENDPOINTS = (
    Endpoint("action", "subscribes", "robovlms_ros/msg/VLAAction", "executed actions, from vla_node"),
    Endpoint("tool_pose", "subscribes", "geometry_msgs/msg/PoseStamped", "where the tool is, for the output pose"),
    Endpoint("twist", "publishes", "geometry_msgs/msg/TwistStamped", "output twist: a velocity of the tool"),
    Endpoint("target_pose", "publishes", "geometry_msgs/msg/PoseStamped", "output pose: where the tool should be"),
    Endpoint("array", "publishes", "std_msgs/msg/Float64MultiArray", "output array: see array.content"),
    Endpoint("trajectory", "publishes", "trajectory_msgs/msg/JointTrajectory", "output trajectory: the fingers"),
    Endpoint("/diagnostics", "publishes", "diagnostic_msgs/msg/DiagnosticArray", "1 Hz"),
)
EXAMPLES = (
    "ros2 launch robovlms_ros vla.launch.py model:=/packed arm_bridge:=true twist:=/servo_node/delta_twist_cmds",
    "ros2 run robovlms_ros arm_bridge_node --ros-args -r twist:=/servo_node/delta_twist_cmds",
    "ros2 run robovlms_ros arm_bridge_node --ros-args -p outputs:='[pose, array]' -r tool_pose:=/current_pose",
)
# Timers of the ROS clock wait too long when the clock is set back; this one does not follow it.
WATCH_PERIOD = 0.05


class ArmBridgeNode(Node):
    """Wires topics to an `ArmBridge`. A lock guards it, because ``halt`` comes from another thread."""

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__("arm_bridge_node", **node_arguments)
        self._lock = threading.Lock()
        self._halted = False
        self._contradiction = ""
        self._declared = Parameters(self, ARM_BRIDGE_NODE, locked=lambda: True, apply=self._apply)
        values = self._declared.current
        self._bridge = ArmBridge(self._settings(values))
        self._commands = CommandPublisher(self, values)
        self._commands.gripper_duration_ns = gripper_duration_ns(values)
        self._alarm = Alarm(self, self._tick)
        self.create_subscription(VLAAction, "action", self._on_action, qos.actions())
        self.create_subscription(PoseStamped, "tool_pose", self._on_tool_pose, qos.states())
        steady_timer(self, WATCH_PERIOD, self._tick)
        DiagnosticsPublisher(self, lambda: [self._status()])
        self._refusal = self._no_target = ""
        self._silent = False
        if self._problem:
            self.get_logger().error(f"{self._problem}; no command is sent until that is corrected")

    def halt(self) -> None:
        """Stop the arm now and send nothing more. Safe from any thread."""
        with self._lock:
            if not self._halted:
                self._send(self._bridge.stop(), now_ns(self))
            self._halted = True

    def close(self) -> bool:
        """Stop the arm and say what was done."""
        self.halt()
        counts = ", ".join(f"{reason} {count}x" for reason, count in self._bridge.counts.items())
        self.get_logger().info(f"ended after {self._bridge.executed} actions; {counts or 'nothing was refused'}")
        return True

    @property
    def _problem(self) -> str:
        return self._declared.problem or self._contradiction

    def _settings(self, values: Mapping[str, Any]) -> BridgeSettings:
        try:
            return bridge_settings(values)
        except ValueError as error:
            self._contradiction = str(error)
            return BridgeSettings(outputs=frozenset())

    def _apply(self, values: Mapping[str, Any]) -> None:
        settings = bridge_settings(values)
        with self._lock:
            self._bridge.apply(settings)
            self._commands.gripper_duration_ns = gripper_duration_ns(values)

    def _on_action(self, message: VLAAction) -> None:
        with self._lock:
            if self._halted:
                return
            now = now_ns(self)
            try:
                if self._problem:
                    raise CommandError("wrong parameters", self._problem)
                action = arm_action(message)
            except CommandError as error:
                self._bridge.refuse(error)
            else:
                self._send(self._bridge.offer(action, now), now)
        self._report()

    def _on_tool_pose(self, message: PoseStamped) -> None:
        with self._lock:
            try:
                pose = measured_pose(message)
            except CommandError as error:
                self._bridge.counts[error.kind] += 1
                return
            if not self._halted:
                now = now_ns(self)
                self._send(self._bridge.offer_tool(pose, to_nanoseconds(message.header.stamp), now), now)

    def _tick(self) -> None:
        with self._lock:
            if self._halted:
                return
            now = now_ns(self)
            self._send(self._bridge.tick(now), now)
        self._report()

    def _send(self, commands: Commands, now: int) -> None:
        self._commands.send(commands, self._bridge.gripper.positions, now)
        self._alarm.set(self._bridge.due_ns, now)

    def _report(self) -> None:
        """Log silence and refusals as they begin and end, not action by action."""
        logger = self.get_logger()
        if self._bridge.silent != self._silent:
            self._silent = self._bridge.silent
            if self._silent:
                logger.warning("no new action in time: the arm is stopped", throttle_duration_sec=5.0)
            else:
                logger.info("new actions arrive again", throttle_duration_sec=5.0)
        refusal, no_target = self._bridge.refusal, self._bridge.pose.problem
        if (refusal.kind if refusal else "") != self._refusal:
            self._refusal = refusal.kind if refusal else ""
            if refusal:
                logger.warning(f"refused an action: {refusal}", throttle_duration_sec=5.0)
            else:
                logger.info("actions are executed again", throttle_duration_sec=5.0)
        if (no_target.kind if no_target else "") != self._no_target:
            self._no_target = no_target.kind if no_target else ""
            if no_target:
                logger.warning(f"no target on target_pose: {no_target}", throttle_duration_sec=5.0)
            else:
                logger.info("targets are sent again", throttle_duration_sec=5.0)

    def _status(self) -> Any:
        sources = self.count_publishers(self.resolve_topic_name("action"))
        with self._lock:
            return bridge_status(self, self._bridge, self._problem, sources, self._commands.listeners())


def main() -> None:
    """Run the node, or print its help."""
    if wants_help(sys.argv):
        print(help_text("arm_bridge_node", str(__doc__), ENDPOINTS, ARM_BRIDGE_NODE, EXAMPLES))  # noqa: T201
        return
    sys.exit(run(lambda context: ArmBridgeNode(context=context)))
