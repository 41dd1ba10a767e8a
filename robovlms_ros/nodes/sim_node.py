"""A simulated robot at a table: cameras, tool pose and joint states out, the commands of an arm controller in."""

from __future__ import annotations

import sys
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.timer import Timer
from std_srvs.srv import Trigger

from robovlms_ros.ros import qos
from robovlms_ros.ros.clock import steady_timer
from robovlms_ros.ros.diagnostics import DiagnosticsPublisher
from robovlms_ros.ros.help import Endpoint, help_text, wants_help
from robovlms_ros.ros.parameters import Parameters
from robovlms_ros.ros.run import run
from robovlms_ros.ros.sim_parameters import SIM_NODE
from robovlms_ros.ros.sim_status import episode_message, simulator_message
from robovlms_ros.ros.simulation import EpisodePlan, Simulation
from robovlms_ros.sim.errors import RenderingError
from robovlms_ros.sim.rendering import find_backend

ENDPOINTS = (
    Endpoint("twist", "subscribes", "geometry_msgs/msg/TwistStamped", "a velocity of the tool"),
    Endpoint("target_pose", "subscribes", "geometry_msgs/msg/PoseStamped", "where the tool should be, instead"),
    Endpoint("trajectory", "subscribes", "trajectory_msgs/msg/JointTrajectory", "where the finger should be"),
    Endpoint("array", "subscribes", "std_msgs/msg/Float64MultiArray", "the same as a number; in real time only"),
    Endpoint("camera/static/image_raw", "publishes", "sensor_msgs/msg/Image", "the camera in front, rgb8"),
    Endpoint("camera/wrist/image_raw", "publishes", "sensor_msgs/msg/Image", "the camera on the wrist, rgb8"),
    Endpoint("tool_pose", "publishes", "geometry_msgs/msg/PoseStamped", "the tool in base_link"),
    Endpoint("joint_states", "publishes", "sensor_msgs/msg/JointState", "finger_joint, 0 closed to 0.04 open"),
    Endpoint("instruction", "publishes", "std_msgs/msg/String", "what to do in this episode, latched"),
    Endpoint("~/episode", "publishes", "diagnostic_msgs/msg/DiagnosticStatus", "seed, steps, success; latched"),
    Endpoint("/clock", "publishes", "rosgraph_msgs/msg/Clock", "simulated time, for use_sim_time"),
    Endpoint("/diagnostics", "publishes", "diagnostic_msgs/msg/DiagnosticArray", "1 Hz"),
    Endpoint("vla_node/run_instruction", "calls", "robovlms_ros/action/RunInstruction", "see the parameter goals"),
    Endpoint("~/reset", "serves", "std_srvs/srv/Trigger", "begin the episode of the next seed"),
)
EXAMPLES = (
    "ros2 launch robovlms_ros sim.launch.py",
    "ros2 service call /sim_node/reset std_srvs/srv/Trigger",
    "ros2 param set /sim_node seed 7",
    "ros2 topic echo /sim_node/episode",
)


class SimNode(Node):
    """Wires topics to a `Simulation`, which is made in the executor's thread: drawing belongs to one thread."""

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__("sim_node", **node_arguments)
        self._simulation: Simulation | None = None
        self._number = 0
        self._declared = Parameters(self, SIM_NODE, locked=lambda: True, apply=lambda _: None)
        self._episode = self.create_publisher(DiagnosticStatus, "~/episode", qos.latched())
        self.create_service(Trigger, "~/reset", self._on_reset)
        DiagnosticsPublisher(self, self._status)
        self._pause: Timer | None = None
        self._start_timer = steady_timer(self, 0.0, self._start)
        if self._declared.problem:
            self.get_logger().error(f"{self._declared.problem}; going on with the default")

    def halt(self) -> None:
        """Nothing moves without this node."""

    def close(self) -> bool:
        """Say what was done."""
        if self._simulation:
            self._simulation.destroy()
        self.get_logger().info(f"ended after {self._number} episodes")
        return True

    def _start(self) -> None:
        self._cancel(self._start_timer)
        values = self._declared.current
        self._simulation = Simulation(self, values, self._on_told, self._on_ended)
        self.get_logger().info(f"a tabletop in {values['mode']} mode, images of {values['image_size']} pixels")
        if values["autostart"]:
            self._begin()

    def _begin(self) -> EpisodePlan:
        """Begin the episode of the next seed."""
        self._cancel(self._pause)
        self._pause = None
        assert self._simulation is not None
        values = self._declared.current
        plan = EpisodePlan.of(self._number, values["seed"], values)
        self._number += 1
        self.set_parameters([Parameter("seed", value=plan.seed + 1)])
        self._simulation.begin(plan)
        return plan

    def _cancel(self, timer: Timer | None) -> None:
        if timer is not None:
            self.destroy_timer(timer)

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._simulation is None:
            response.message = "the simulator is still starting: try again"
            return response
        plan = self._begin()
        response.success = True
        response.message = f"episode {plan.number}: seed {plan.seed}, {plan.instruction}"
        return response

    def _on_told(self) -> None:
        episode = self._simulation.episode if self._simulation else None
        if episode is None:
            return
        self._episode.publish(episode_message(self, episode))
        if episode.over:
            self.get_logger().info(
                f"episode {episode.number}, seed {episode.seed}, {episode.instruction!r}: {episode.state} after "
                f"{episode.steps} steps{': ' + episode.why if episode.why else ''}"
            )

    def _on_ended(self) -> None:
        values = self._declared.current
        if values["auto_reset"]:
            self._cancel(self._pause)
            self._pause = steady_timer(self, values["pause"], self._begin_by_itself)

    def _begin_by_itself(self) -> None:
        if self._simulation and self._simulation.idle:
            self._begin()

    def _status(self) -> Any:
        simulation, mode = self._simulation, self._declared.current["mode"]
        if simulation is None:
            return [simulator_message(self, mode, "starting", 0, 0, {})]
        commands = simulation.commands
        message = simulator_message(
            self, mode, simulation.problem, commands.received, commands.publishers(), commands.counts
        )
        return [message] if simulation.episode is None else [message, episode_message(self, simulation.episode)]


def main() -> None:
    """Run the node, or print its help."""
    if wants_help(sys.argv):
        print(help_text("sim_node", str(__doc__), ENDPOINTS, SIM_NODE, EXAMPLES))  # noqa: T201
        return
    try:
        find_backend()
    except RenderingError as error:
        sys.exit(f"sim_node: {error}")
    sys.exit(run(lambda context: SimNode(context=context)))
