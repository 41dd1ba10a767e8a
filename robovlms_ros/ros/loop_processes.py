"""The closed loop as it is started on a robot: four nodes as processes over DDS, and one that looks on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from domain_coordinator import domain_id
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from robovlms_ros.policy.share import find_shared
from robovlms_ros.ros import qos
from robovlms_ros.ros.image import decode_image
from robovlms_ros.ros.interfaces import VLAAction
from robovlms_ros.ros.messages import to_nanoseconds
from robovlms_ros.ros.node_process import (
    NodeProcess,
    NodeProcessError,
    executable,
    node_process,
    private_environment,
    ros_arguments,
    spinning_node,
    wait_for,
    wait_until_active,
)
from robovlms_ros.ros.robot_publisher import CAMERA_TOPICS
from robovlms_ros.ros.sim_status import OVER, RUNNING, SUCCEEDED
from robovlms_ros.sim.run_page import opening_of
from robovlms_ros.sim.run_record import EpisodeRecord, Family

NODES = ("sim_node", "vla_node", "action_history_node", "arm_bridge_node")
REMAPS = {"image": CAMERA_TOPICS["static"], "image_hand": CAMERA_TOPICS["hand"]}
# A busy machine needs a minute to import torch.
STARTUP_TIMEOUT, EPISODE_TIMEOUT = 300.0, 300.0
Told = Callable[[str, int], None]


class LoopProcesses:
    """Starts the nodes on a private domain and runs episodes; use it as a context manager.

    ``parameters`` are by node, on top of config/tabletop.yaml and, in ``lock_step``, tabletop_lock_step.yaml.

    Raises `NodeProcessError`, which ends with what a node logged, where one does not come up or dies.
    """

    def __init__(self, mode: str = "lock_step", parameters: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self.card: dict[str, object] = {}
        """The model card, once an episode has begun."""
        self._mode, self._parameters = mode, parameters or {}
        self._stack = ExitStack()
        self._processes: list[NodeProcess] = []
        self._status: dict[str, str] = {}
        self._images: dict[int, dict[str, NDArray[np.uint8]]] = {}
        self._heights: dict[int, float] = {}
        self._openings: dict[int, float] = {}
        self._answers: dict[int, float] = {}
        self._node: Any = None

    def __enter__(self) -> LoopProcesses:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def run(
        self, number: int, seed: int, family: Family, told: Told = lambda instruction, steps: None
    ) -> EpisodeRecord:
        """Run the episode of ``seed``; ``told(instruction, steps)`` is called as it goes on."""
        started = time.monotonic()
        before = self._status.get("episode")
        self._set("sim_node", seed=seed, family=family)
        self._forget()
        self._call(Trigger, "sim_node/reset", Trigger.Request())

        def is_over() -> bool:
            status = self._status
            if status.get("episode") == before or status.get("seed") != str(seed):
                return False
            told(status["instruction"], int(status["steps"]))
            return status["state"] in OVER

        wait_for(is_over, f"the episode of seed {seed} did not end", self._processes, EPISODE_TIMEOUT, period=0.02)
        status, seconds = self._status, time.monotonic() - started
        self._wait_for_images(int(status["steps"]) + 1)
        stamps = sorted(stamp for stamp, images in self._images.items() if len(images) == len(CAMERA_TOPICS))
        if self._mode != "lock_step":
            # Images go on before and after an episode.
            stamps = stamps[-int(status["steps"]) - 1 :]
        return EpisodeRecord(
            number=number,
            seed=seed,
            family=family,
            instruction=status["instruction"],
            succeeded=status["state"] == SUCCEEDED,
            steps=int(status["steps"]),
            why=status["why"],
            seconds=seconds,
            frames=[dict(self._images[stamp]) for stamp in stamps],
            latencies=[answer for _, answer in sorted(self._answers.items())],
            heights=[self._heights[stamp] for stamp in stamps if stamp in self._heights],
            openings=[self._openings[stamp] for stamp in stamps if stamp in self._openings],
        )

    # -- start

    def _start(self) -> None:
        domain = self._stack.enter_context(domain_id())
        environment = private_environment(domain)
        for name in NODES:
            command = [*executable(name), *self._arguments(name)]
            self._processes.append(self._stack.enter_context(node_process(name, command, environment)))
            self._processes[-1].hopeless = "cannot configure"
        node = self._node = self._stack.enter_context(spinning_node(domain, "onlooker"))
        for camera, topic in CAMERA_TOPICS.items():
            node.create_subscription(Image, topic, self._image_listener(camera), QoSProfile(depth=200))
        node.create_subscription(PoseStamped, "tool_pose", self._on_pose, QoSProfile(depth=200))
        node.create_subscription(JointState, "joint_states", self._on_joints, QoSProfile(depth=200))
        node.create_subscription(VLAAction, "action", self._on_action, QoSProfile(depth=200))
        node.create_subscription(DiagnosticStatus, "sim_node/episode", self._on_episode, qos.latched())
        node.create_subscription(String, "vla_node/model_info", self._on_card, qos.latched())
        wait_until_active(node, "/vla_node", self._processes, STARTUP_TIMEOUT)
        wait_for(self._connected, "the nodes did not find each other", self._processes, STARTUP_TIMEOUT)

    def _arguments(self, name: str) -> list[str]:
        files = ["tabletop.yaml", *["tabletop_lock_step.yaml"] * (self._mode == "lock_step")]
        words = ["--ros-args"]
        for file in files:
            words += ["--params-file", str(_config(file))]
        own: dict[str, Any] = dict(self._parameters.get(name, {}))
        if name == "sim_node":
            own |= {"mode": self._mode, "autostart": False, "auto_reset": False}
        remaps = REMAPS if name == "vla_node" else {}
        return [*words, *ros_arguments(own, remaps)]

    def _connected(self) -> bool:
        """Whether whoever waits for somebody has found him."""
        node = self._node
        everybody = set(NODES) <= set(node.get_node_names())
        heard = all(
            node.count_publishers(topic) for topic in ("action_history", "trajectory", *CAMERA_TOPICS.values())
        )
        # Of images this node's own subscription is one.
        seen = all(node.count_subscribers(topic) > 1 for topic in CAMERA_TOPICS.values())
        return everybody and heard and seen and node.count_subscribers("/clock") >= len(NODES)

    # -- what it hears

    def _forget(self) -> None:
        self._images, self._heights, self._openings, self._answers = {}, {}, {}, {}

    def _image_listener(self, camera: str) -> Callable[[Image], None]:
        def on_image(message: Image) -> None:
            self._images.setdefault(to_nanoseconds(message.header.stamp), {})[camera] = decode_image(message)

        return on_image

    def _on_pose(self, message: PoseStamped) -> None:
        self._heights[to_nanoseconds(message.header.stamp)] = message.pose.position.z

    def _on_joints(self, message: JointState) -> None:
        self._openings[to_nanoseconds(message.header.stamp)] = opening_of(message.position[0])

    def _on_action(self, message: VLAAction) -> None:
        if self._mode != "lock_step" and self._status.get("state") == RUNNING:
            # Time goes on as the wall's does; in lock step it stands still, and the simulator measures.
            self._answers[len(self._answers)] = to_nanoseconds(message.latency) * 1e-9

    def _on_episode(self, message: DiagnosticStatus) -> None:
        status = {pair.key: pair.value for pair in message.values}
        self._status = status
        if self._mode == "lock_step" and int(status["steps"]):
            self._answers[int(status["steps"])] = float(status["newest answer (ms)"]) * 1e-3

    def _on_card(self, message: String) -> None:
        self.card = json.loads(message.data)

    # -- parts

    def _wait_for_images(self, count: int) -> None:
        """The last ones may still be on their way; without them the record is shorter."""
        deadline = time.monotonic() + 2.0
        while time.monotonic() < deadline:
            whole = [images for images in list(self._images.values()) if len(images) == len(CAMERA_TOPICS)]
            if len(whole) >= count:
                return
            time.sleep(0.01)

    def _set(self, node: str, **values: Any) -> None:
        parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        answer = self._call(SetParameters, f"{node}/set_parameters", SetParameters.Request(parameters=parameters))
        refused = [result.reason for result in answer.results if not result.successful]
        if refused:
            raise NodeProcessError(f"{node}: {'; '.join(refused)}")

    def _call(self, service: Any, name: str, request: Any) -> Any:
        client = self._node.create_client(service, name)
        wait_for(client.service_is_ready, f"no service {name}", self._processes, STARTUP_TIMEOUT)
        future = client.call_async(request)
        wait_for(future.done, f"no answer of {name}", self._processes, STARTUP_TIMEOUT, period=0.01)
        self._node.destroy_client(client)
        return future.result()


def _config(name: str) -> Path:
    found = find_shared("config", name)
    if found is None:
        raise NodeProcessError(f"config/{name} is not installed: build the package again ('make setup')")
    return found
