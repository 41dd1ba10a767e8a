"""The closed loop in a private graph: sim_node, vla_node, action_history_node and arm_bridge_node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from acting import SensitivePolicy
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from robovlms_ros.nodes.action_history_node import ActionHistoryNode
from robovlms_ros.nodes.arm_bridge_node import ArmBridgeNode
from robovlms_ros.nodes.sim_node import SimNode
from robovlms_ros.nodes.vla_node import VLANode
from robovlms_ros.policy.parameter_tables import ACTION_HISTORY_NODE, VLA_NODE
from robovlms_ros.ros import qos
from robovlms_ros.ros.arm_bridge_parameters import ARM_BRIDGE_NODE
from robovlms_ros.ros.sim_parameters import SIM_NODE

CONFIG = Path(__file__).resolve().parents[2] / "config"
TABLES = {
    "sim_node": SIM_NODE,
    "vla_node": VLA_NODE,
    "action_history_node": ACTION_HISTORY_NODE,
    "arm_bridge_node": ARM_BRIDGE_NODE,
}


def configured(node: str, *names: str) -> dict[str, Any]:
    """What the parameter files say to a node, as far as it has such parameters."""
    found: dict[str, Any] = {}
    for name in names:
        content = yaml.safe_load((CONFIG / f"{name}.yaml").read_text())
        for key in ("/**", f"/**/{node}"):
            found |= flat(content.get(key, {}).get("ros__parameters", {}))
    return {key: value for key, value in found.items() if key in TABLES[node].rows or key == "use_sim_time"}


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


class Tabletop:
    """All four nodes with the parameter files of the mode, and ``parameters`` by node on top of them."""

    def __init__(
        self, graph: Any, policy: Any = None, mode: str = "lock_step", **parameters: dict[str, Any]
    ) -> None:
        self.graph = graph
        self.policy = policy or SensitivePolicy()
        self.files = ["tabletop", *["tabletop_lock_step"] * (mode == "lock_step")]
        self.parameters = parameters
        self.told: list[Any] = []
        graph.helper.create_subscription(DiagnosticStatus, "sim_node/episode", self.told.append, qos.latched())
        remaps = ["-r", "image:=camera/static/image_raw", "-r", "image_hand:=camera/wrist/image_raw"]
        self.vla = self._add("vla_node", VLANode, remaps, policy_factory=lambda values: self.policy)
        self.history = self._add("action_history_node", ActionHistoryNode)
        self.bridge = self._add("arm_bridge_node", ArmBridgeNode)
        self.sim = self._add("sim_node", SimNode)
        graph.wait_for(lambda: self.vla.lifecycle_state == "active", "an active vla_node", timeout=30)
        graph.wait_for(lambda: self.sim._simulation, "the simulator", timeout=60)

    def _add(self, name: str, make: Any, arguments: list[str] | None = None, **options: Any) -> Any:
        values = configured(name, *self.files)
        if name == "sim_node":
            values |= {"autostart": False, "auto_reset": False, "image_size": 32}
        values |= self.parameters.get(name, {})
        overrides = [Parameter(key, value=value) for key, value in values.items()]
        cli = ["--ros-args", *arguments] if arguments else None
        return self.graph.add(
            make(context=self.graph.context, parameter_overrides=overrides, cli_args=cli, **options)
        )

    @property
    def simulation(self) -> Any:
        return self.sim._simulation

    def reset(self) -> str:
        """Ask for the next episode; return what the node says of it."""
        answer = self.graph.call(Trigger, "sim_node/reset", Trigger.Request())
        assert answer.success, answer.message
        return str(answer.message)

    def run(self, timeout: float = 180.0) -> Any:
        """Run the next episode to its end and until nothing of it is under way; return its state."""
        number = self.sim._number
        self.reset()
        simulation = self.simulation
        self.graph.wait_for(
            lambda: simulation.episode.number == number and simulation.episode.over and simulation.idle,
            "the end of the episode",
            timeout,
        )
        return simulation.episode
