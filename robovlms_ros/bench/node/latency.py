"""From a published image to the received action: 640x480 rgb8 at 30 Hz, null policy, two processes.

Beside the vla_node runs an empty node, which answers every image with a message of the same type and does nothing
else: the floor under any Python node here. The two get images in turns, so that both see the same machine. Times
are taken in one process, from right before the image is handed to DDS to the callback of the answer.

Overhead = median latency of the vla_node - that of the empty node - a bare ``session.step`` of the same policy.
It may be 2 ms and what turns the message into pixels (``decode_image``), which is its preprocessing here.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from itertools import cycle

import numpy as np

from robovlms_ros.bench.table import Figure
from robovlms_ros.policy.null_policy import NullPolicy
from robovlms_ros.policy.types import Observation
from robovlms_ros.ros.image import decode_image
from robovlms_ros.soak.camera import Camera, rgb_image
from robovlms_ros.soak.graph import Answers, Graph, private_graph

RATE = 30.0
TURN = 2.5
EMPTY_NODE = """
import rclpy
from rclpy.executors import ExternalShutdownException
from sensor_msgs.msg import Image
from robovlms_ros.ros import qos
from robovlms_ros.ros.interfaces import VLAAction

rclpy.init()
node = rclpy.create_node("empty", namespace="floor")
publisher = node.create_publisher(VLAAction, "action", qos.actions())
answer = VLAAction()

def on_image(image):
    answer.header = image.header
    publisher.publish(answer)

node.create_subscription(Image, "image", on_image, qos.images("best_effort"))
try:
    rclpy.spin(node)
except (KeyboardInterrupt, ExternalShutdownException):
    pass
"""
# Somebody who looks at the overlay.
VIEWER = """
import rclpy
from rclpy.executors import ExternalShutdownException
from sensor_msgs.msg import Image

rclpy.init()
node = rclpy.create_node("viewer")
node.create_subscription(Image, "/vla/vla_node/overlay", lambda image: None, 1)
try:
    rclpy.spin(node)
except (KeyboardInterrupt, ExternalShutdownException):
    pass
"""


def median_ms(work: Callable[[], object], repeats: int = 300) -> float:
    """Return the median time of ``work`` in milliseconds."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return float(np.median(times)) * 1e3


def unanswered(camera: Camera, answers: Answers) -> int:
    """Return how many images no answer came for."""
    return len(set(camera.sent) - set(answers.stamps()))


def measure(seconds: float, overlay: bool = False) -> list[Figure]:
    """Run both nodes, ``seconds`` each; with ``overlay`` somebody looks at that of the vla_node."""
    image = rgb_image()
    session, observation = NullPolicy().session(), Observation({"static": decode_image(image)}, "go")
    step, decode = median_ms(lambda: session.step(observation)), median_ms(lambda: decode_image(image))
    with private_graph("bench") as graph:
        floor, node = run(graph, seconds, overlay)
    p50, p99 = np.percentile(node[1].latencies_ms(), [50, 99])
    floor_p50, floor_p99 = np.percentile(floor[1].latencies_ms(), [50, 99])
    return [
        Figure("p50", float(p50), "ms", 8.0),
        Figure("p99", float(p99), "ms", 15.0),
        Figure(f"unanswered of {len(node[0].sent)} images", unanswered(*node), "", 0.0),
        Figure("floor, p50", float(floor_p50), "ms"),
        Figure("floor, p99", float(floor_p99), "ms"),
        Figure(f"floor, unanswered of {len(floor[0].sent)} images", unanswered(*floor), ""),
        Figure("session.step alone, p50", step, "ms"),
        Figure("decode_image alone, p50", decode, "ms"),
        Figure("overhead of the node", float(p50 - floor_p50) - step, "ms", 2.0 + decode),
    ]


def run(graph: Graph, seconds: float, overlay: bool) -> tuple[tuple[Camera, Answers], tuple[Camera, Answers]]:
    """Let both nodes answer images in turns; return the cameras and what came back."""
    graph.start("empty", [sys.executable, "-c", EMPTY_NODE])
    graph.start_vla(namespace="/vla", history__source="internal")
    graph.wait_until_active("/vla/vla_node")
    if overlay:
        graph.start("viewer", [sys.executable, "-c", VIEWER])
        graph.wait_for(
            lambda: graph.node.count_subscribers("/vla/vla_node/overlay"), "nobody looks at the overlay"
        )
    graph.instruct("go", "/vla/instruction")
    pairs = [(graph.camera(f"/{name}/image", RATE), graph.listen(f"/{name}/action")) for name in ("floor", "vla")]
    for camera, answers in pairs:  # the first frames wake connections and caches
        graph.wait_for(answers_to(camera, answers), "no answer came")
        time.sleep(0.5)
        for noted in (camera.sent, answers.messages, answers.received_ns):
            noted.clear()
    turns = max(1, round(seconds / TURN))
    for _, (camera, _) in zip(range(2 * turns), cycle(pairs), strict=False):
        camera.run_for(seconds / turns)
        time.sleep(0.2)
    return pairs[0], pairs[1]


def answers_to(camera: Camera, answers: Answers) -> Callable[[], bool]:
    """Return what shows an image and says whether enough have been answered."""

    def answered() -> bool:
        camera.run_for(1 / RATE)
        return len(answers.messages) >= 10

    return answered
