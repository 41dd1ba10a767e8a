"""From SIGTERM to the end of the process, while an inference runs that does not end by itself.

The arm has moved before, so each process must also publish one stop action and end with exit code 0.
"""

from __future__ import annotations

import signal
import time

from robovlms_ros.bench.table import Figure
from robovlms_ros.soak.graph import order, private_graph
from robovlms_ros.soak.scripted_node import said

HANG = 60.0


def end_one() -> tuple[float, int, bool]:
    """Return the seconds from the signal to the end, the exit code, and whether the arm was stopped."""
    with private_graph("bench") as graph:
        process = graph.start_vla("--report-starts", history__source="internal", watchdog__timeout=0.0)
        graph.wait_until_active()
        graph.instruct("go")
        camera, answers = graph.camera("image", 30.0), graph.listen()
        camera.start()
        graph.wait_for(lambda: answers.messages, "no action came")
        order(process, kind="sleep", seconds=HANG)

        def hangs() -> bool:
            starts = [each["started"] for each in said(process.log()) if "started" in each]
            return bool(starts) and time.time_ns() - starts[-1] > 300_000_000

        graph.wait_for(hangs, "the inference did not hang")
        camera.stop()
        before = len(answers.messages)
        signalled = time.monotonic()
        process.signal(signal.SIGTERM)
        code = process.wait(30.0)
        seconds = time.monotonic() - signalled
        graph.processes.clear()  # it has ended, as it should
        graph.wait_for(lambda: len(answers.messages) > before, "no stop action came", 5.0)
        last = answers.messages[-1]
        stopped = len(answers.messages) == before + 1 and last.translation.x == last.rotation.x == 0.0
    return seconds, code, stopped


def measure(count: int) -> list[Figure]:
    """End ``count`` processes, one after the other."""
    ends = [end_one() for _ in range(count)]
    times = sorted(seconds for seconds, _, _ in ends)
    return [
        Figure("slowest", times[-1], "s", 2.0),
        Figure("median", times[len(times) // 2], "s"),
        Figure(f"of {count}, exit code not 0", sum(code != 0 for _, code, _ in ends), "", 0.0),
        Figure(f"of {count}, without exactly one stop action", sum(not stopped for *_, stopped in ends), "", 0.0),
    ]
