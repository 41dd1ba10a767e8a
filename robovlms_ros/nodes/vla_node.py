"""Camera images and an instruction in, actions out: a lifecycle node around a vision-language-action model."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rclpy.context import Context
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.timer import Timer
from std_srvs.srv import SetBool, Trigger

from robovlms_ros.nodes.action_history_node import ActionHistoryNode
from robovlms_ros.policy.parameter_tables import VLA_NODE, control_settings
from robovlms_ros.policy.policy_fit import check_policy, used_cameras, warm_up
from robovlms_ros.policy.policy_loader import DEFAULT_MODEL, PolicyFactory, load_policy, unload
from robovlms_ros.policy.safety import Limits
from robovlms_ros.ros.clock import steady_timer
from robovlms_ros.ros.diagnostics import DiagnosticsPublisher
from robovlms_ros.ros.help import Endpoint, Option, given_options, help_text, wants_help
from robovlms_ros.ros.lifecycle import ManagedNode
from robovlms_ros.ros.parameters import Parameters
from robovlms_ros.ros.run import run
from robovlms_ros.ros.run_instruction import RunInstructionServer
from robovlms_ros.ros.vla_runtime import VLARuntime
from robovlms_ros.ros.vla_status import VLAStatus

ENDPOINTS = (
    Endpoint("image", "subscribes", "sensor_msgs/msg/Image", "the static camera; see images.transport"),
    Endpoint("image_hand", "subscribes", "sensor_msgs/msg/Image", "the hand camera, for models that take one"),
    Endpoint("instruction", "subscribes", "std_msgs/msg/String", "what to do, latched or not; empty = stop"),
    Endpoint("tool_pose", "subscribes", "geometry_msgs/msg/PoseStamped", "the tool; see state.source"),
    Endpoint("joint_states", "subscribes", "sensor_msgs/msg/JointState", "the gripper; see state.gripper_joint"),
    Endpoint("action_history", "subscribes", "robovlms_ros/msg/ActionHistory", "from action_history_node"),
    Endpoint("action", "publishes", "robovlms_ros/msg/VLAAction", "one per step, stamped as its image"),
    Endpoint("action_chunk", "publishes", "robovlms_ros/msg/VLAActionChunk", "all predicted actions"),
    Endpoint("~/model_info", "publishes", "std_msgs/msg/String", "the model card in JSON, latched"),
    Endpoint("~/overlay", "publishes", "sensor_msgs/msg/Image", "what the model saw and answered, as a picture"),
    Endpoint("/diagnostics", "publishes", "diagnostic_msgs/msg/DiagnosticArray", "1 Hz"),
    Endpoint("~/reset", "serves", "std_srvs/srv/Trigger", "start a new episode"),
    Endpoint("~/set_enabled", "serves", "std_srvs/srv/SetBool", "pause and resume the publishing of actions"),
    Endpoint("~/run_instruction", "serves", "robovlms_ros/action/RunInstruction", "one instruction with limits"),
)
WITH_HISTORY = Option(
    "--with-history",
    "action_history_node runs in this process, too, in the same executor. Remappings, parameters and the "
    "namespace reach both; -r __node:=NAME renames vla_node alone",
)
EXAMPLES = (
    "ros2 launch robovlms_ros vla.launch.py model:=/path/to/packed image:=/camera/image_raw action:=/arm/command",
    "ros2 run robovlms_ros vla_node --ros-args -p model.path:=/path/to/packed -r image:=/camera/image_raw",
    "ros2 topic pub -1 /instruction std_msgs/msg/String '{data: pick up the red block}'",
    "ros2 action send_goal -f /vla_node/run_instruction robovlms_ros/action/RunInstruction \\\n"
    "      '{instruction: pick up the red block, max_duration: {sec: 30}}'",
)
UNNAMED_MODEL = (
    f"no model is named, so this is {DEFAULT_MODEL}, the built-in model of the simulator, which knows no other "
    f"robot: set the parameter model.path (launch argument model:=) to yours, or to {DEFAULT_MODEL} if you mean it"
)
# Seconds that a process which ends waits for the last result of a goal to be sent.
GOAL_TIMEOUT = 0.3


class VLANode(ManagedNode):
    """Unconfigured it costs what an empty node costs; configured it has a model; active it acts.

    ``policy_factory`` replaces the loading of a packed model, for tests and benchmarks.
    """

    def __init__(self, policy_factory: PolicyFactory = load_policy, **node_arguments: Any) -> None:
        super().__init__("vla_node", **node_arguments)
        self._policy_factory = policy_factory
        self._runtime: VLARuntime | None = None
        self._gave_up = ""
        self._declared = Parameters(
            self, VLA_NODE, locked=lambda: self._runtime is not None, apply=self._apply_parameters
        )
        self.create_service(Trigger, "~/reset", self._on_reset)
        self.create_service(SetBool, "~/set_enabled", self._on_set_enabled)
        self._goals = RunInstructionServer(self, lambda: self._runtime)
        self._deactivation = self.create_guard_condition(self._deactivate_myself)
        self._report = VLAStatus(self)
        DiagnosticsPublisher(self, self._status)
        self._autostart_timer: Timer | None = None
        if self._declared.current["autostart"]:
            self._autostart_timer = steady_timer(self, 0.0, self._autostart)

    # -- lifecycle

    def configure(self) -> None:
        """Load the model, try it, and create the topics."""
        values = self._declared.values()
        unnamed = self._policy_factory is load_policy and not values["model.path"]
        try:
            policy = self._policy_factory(values)
            check_policy(policy, values)
            warm_up(policy, used_cameras(policy, values))
            self._runtime = VLARuntime(self, policy, values, self._give_up, unnamed)
        except ValueError as error:
            if not unnamed:
                raise
            raise ValueError(f"{error} ({UNNAMED_MODEL})") from error
        card = policy.card
        if unnamed:
            self.get_logger().warning(UNNAMED_MODEL)
        self.get_logger().info(f"ready with {card['model_id']}, cameras {', '.join(self._runtime.cameras)}")
        if not card.get("action_encoder"):
            self.get_logger().info("the model has no action encoder: it runs without action history")

    def activate(self) -> None:
        """Start the inference thread."""
        self._gave_up = ""
        if self._runtime:
            self._runtime.start()

    def deactivate(self) -> None:
        """Stop the arm first, then wait a little for the thread."""
        if self._runtime:
            self._runtime.stop_arm("the node was deactivated")
            if not self._runtime.join():
                self.get_logger().warning("an inference is still running; its result will be discarded")

    def release(self) -> None:
        """Destroy the topics and let the model go."""
        runtime, self._runtime = self._runtime, None
        if runtime:
            runtime.destroy()
            unload()

    def halt(self) -> None:
        """Stop the arm now. For any thread but the executor's: a goal that is running gets its result first."""
        if self._runtime:
            self._runtime.stop_arm("the node shuts down")
            self._goals.settle(GOAL_TIMEOUT)

    def close(self) -> bool:
        """Shut down in an orderly way; return False where an inference is still running."""
        runtime = self._runtime
        if self.lifecycle_state != "finalized":
            self.trigger_shutdown()
        self._goals.destroy()
        if runtime is None:
            self.get_logger().info("ended without having been configured")
            return True
        counts = ", ".join(f"{reason} {count}x" for reason, count in runtime.controller.counts.items())
        self.get_logger().info(
            f"ended after {runtime.output.published} actions; {counts or 'nothing was dropped'}"
        )
        return not runtime.thread.busy_for

    def _autostart(self) -> None:
        if self._autostart_timer:
            self.destroy_timer(self._autostart_timer)
            self._autostart_timer = None
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def _give_up(self, message: str) -> None:
        self._gave_up = message
        self._deactivation.trigger()  # a transition belongs into the executor's thread

    def _deactivate_myself(self) -> None:
        if self.lifecycle_state == "active":
            self.get_logger().fatal(f"deactivated myself: {self._gave_up}")
            self.trigger_deactivate()

    # -- requests

    def _apply_parameters(self, values: Mapping[str, Any]) -> None:
        if self._runtime:
            self._runtime.apply(self._runtime.settings(values))
        else:
            control_settings(values, Limits())

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._runtime:
            response.success = True
            response.message = f"episode {self._runtime.reset()} begins"
        else:
            response.message = "the node is not configured: there is nothing to reset"
        return response

    def _on_set_enabled(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        result = self.set_parameters([Parameter("enabled", value=request.data)])[0]
        response.success = result.successful
        response.message = result.reason or ("enabled" if request.data else "disabled")
        return response

    def _status(self) -> Any:
        problem = self._gave_up
        if self.lifecycle_state == "unconfigured" and self.last_error:
            problem = self.last_error
        values = self._declared.current
        return self._report.collect(self.lifecycle_state, problem, self._runtime, values, self._goals.last)


def main(policy_factory: PolicyFactory = load_policy) -> None:
    """Run the node, alone or with action_history_node, or print its help."""
    if wants_help(sys.argv):
        print(  # noqa: T201
            help_text("vla_node", str(__doc__), ENDPOINTS, VLA_NODE, EXAMPLES, [WITH_HISTORY])
        )
        return
    with_history = WITH_HISTORY.name in given_options(sys.argv, [WITH_HISTORY])

    def make_nodes(context: Context) -> list[Node]:
        vla = VLANode(policy_factory, context=context)
        if not with_history:
            return [vla]
        return [vla, ActionHistoryNode(context=context, cli_args=keep_name("action_history_node", sys.argv))]

    sys.exit(run(make_nodes))


def keep_name(name: str, arguments: Sequence[str]) -> list[str]:
    """Return the arguments for a node that ``-r __node:=`` on the command line is not meant for."""
    renamed = any(word.startswith(("__node:=", "__name:=")) for word in arguments)
    return ["--ros-args", "-r", f"__node:={name}"] if renamed else []
