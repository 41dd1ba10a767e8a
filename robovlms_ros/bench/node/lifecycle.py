"""What cycles of configure, activate, act, deactivate and cleanup leave behind in a process.

Counted while unconfigured, after a first cycle that imports and allocates what stays: threads of the process, open
files, entities of the node, Python objects after a collection, and anonymous memory.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from lifecycle_msgs.msg import Transition

from robovlms_ros.bench.table import Figure
from robovlms_ros.ros.node_process import NodeProcess, executable, ros_arguments
from robovlms_ros.soak.camera import Camera
from robovlms_ros.soak.graph import Answers, Graph, private_graph
from robovlms_ros.soak.process_stats import ProcessStats, process_stats

FRAMES = 5
ENTITIES = ("subscriptions", "publishers", "services", "timers", "guards")
# What the allocator keeps back; a model that stays behind is many times this.
MEGABYTES = 8.0
# Callback groups of rclpy keep a dead weak reference to each entity that has been destroyed: 18 in a cycle.
OBJECTS_PER_CYCLE = 25


def cycle(graph: Graph, camera: Camera, answers: Answers) -> None:
    """Configure, activate, answer some images, deactivate, clean up."""
    graph.transition(Transition.TRANSITION_CONFIGURE)
    graph.transition(Transition.TRANSITION_ACTIVATE)
    before = len(answers.messages)
    camera.start()
    graph.wait_for(lambda: len(answers.messages) >= before + FRAMES, "no actions came")
    camera.stop()
    graph.transition(Transition.TRANSITION_DEACTIVATE)
    graph.transition(Transition.TRANSITION_CLEANUP)


def run(graph: Graph, process: NodeProcess, count: int) -> tuple[ProcessStats, ProcessStats]:
    """Return the process before and after ``count`` cycles."""
    graph.instruct("go")
    camera, answers = Camera(graph.node, "image", 30.0), graph.listen()
    cycle(graph, camera, answers)
    cycle(graph, camera, answers)
    time.sleep(1.0)
    before = process_stats(process.pid)
    for _ in range(count):
        cycle(graph, camera, answers)
    time.sleep(1.0)
    return before, process_stats(process.pid)


def growth(before: ProcessStats, after: ProcessStats) -> list[Figure]:
    """Return what the process has more than before."""
    return [
        Figure(f"threads more than {before.threads}", after.threads - before.threads, "", 0.0),
        Figure(f"open files more than {before.files}", after.files - before.files, "", 0.0),
        Figure(
            f"anonymous memory more than {before.anonymous / 1e6:.0f} MB",
            (after.anonymous - before.anonymous) / 1e6,
            "MB",
            MEGABYTES,
        ),
    ]


def measure(count: int) -> list[Figure]:
    """Cycle a node with the null policy, whose entities and objects can be counted from inside."""
    with private_graph("bench") as graph:
        process = graph.start_vla(autostart=False, history__source="internal")
        # The first cycle allocates what stays, such as the interpreter's caches.
        run(graph, process, 0)
        inside_before = graph.census(process)
        before, after = run(graph, process, count)
        inside = graph.census(process)
    entities = sum(abs(inside[name] - inside_before[name]) for name in ENTITIES)
    return [
        *growth(before, after),
        Figure(f"entities more than {sum(inside_before[name] for name in ENTITIES)}", entities, "", 0.0),
        Figure(
            f"Python objects more than {inside_before['objects']}",
            inside["objects"] - inside_before["objects"],
            "",
            100.0 + OBJECTS_PER_CYCLE * count,
        ),
    ]


def measure_with_model(count: int) -> list[Figure]:
    """Cycle the installed executable, which loads a model each time."""
    from robovlms_ros.policy.untrained import make_untrained

    with tempfile.TemporaryDirectory() as scratch, private_graph("bench") as graph:
        model = make_untrained(Path(scratch) / "model")
        parameters = {"model.path": str(model), "autostart": False, "history.source": "internal"}
        process = graph.start("vla_node", [*executable("vla_node"), *ros_arguments(parameters)])
        before, after = run(graph, process, count)
    return growth(before, after)
