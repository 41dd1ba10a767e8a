"""How fresh is the frame that a slow policy looks at? A 60 Hz camera, 640x480 rgb8, and a policy of 300 ms.

The age is that of the frame used at the moment when its inference starts, by the policy's account of that moment.
The drop counter is right where every frame that arrived was either used or counted as overtaken by a newer one.
"""

from __future__ import annotations

import time

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray

from robovlms_ros.bench.table import Figure
from robovlms_ros.soak.graph import Graph, private_graph
from robovlms_ros.soak.scripted_node import said

RATE = 60.0
DELAY = 0.3


def counters(graph: Graph) -> dict[str, int]:
    """Return what the diagnostics count, once they have ceased to change."""
    arrays = graph.listen("/diagnostics", DiagnosticArray)
    graph.wait_for(lambda: len(arrays.messages) >= 3, "no diagnostics came")
    pairs = {pair.key: pair.value for status in arrays.messages[-1].status for pair in status.values}
    return {key: int(pairs[key]) for key in ("frames received", "frames overtaken", "actions published")}


def measure(seconds: float) -> list[Figure]:
    """Run the camera for ``seconds``."""
    with private_graph("bench") as graph:
        process = graph.start_vla(
            "--delay", str(DELAY), "--report-starts", history__source="internal", watchdog__timeout=0.0
        )
        graph.wait_until_active()
        graph.instruct("go")
        camera, answers = graph.camera("image", RATE), graph.listen()
        camera.run_for(seconds)
        time.sleep(2 * DELAY + 0.5)  # for the last answer
        counts = counters(graph)
        starts = [each["started"] for each in said(process.log()) if "started" in each]
        stamps = answers.stamps()  # before the node ends, and with it comes a stop action
    if len(starts) != len(stamps):
        raise RuntimeError(f"{len(starts)} inferences gave {len(stamps)} actions")
    ages = (np.array(starts) - np.array(stamps)) / 1e6
    unaccounted = counts["frames received"] - counts["frames overtaken"] - counts["actions published"]
    return [
        Figure("median age of the frame used when inference starts", float(np.median(ages)), "ms", 20.0),
        Figure("95th percentile", float(np.percentile(ages, 95)), "ms"),
        Figure("largest", float(ages.max()), "ms"),
        Figure(f"inferences for {len(camera.sent)} frames", len(starts), ""),
        Figure("frames lost on the way", len(camera.sent) - counts["frames received"], ""),
        Figure("frames overtaken", counts["frames overtaken"], ""),
        Figure("received, but neither used nor counted as overtaken", abs(unaccounted), "", 0.0),
    ]
