"""How long a process takes until it can begin, and what it holds then: nothing heavy is imported before it is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from statistics import median

from robovlms_ros.bench.table import Table
from robovlms_ros.model.errors import ModelError

EMPTY = "an empty interpreter"
STATEMENTS = {
    EMPTY: "pass",
    f"{EMPTY}, again (A/A)": "pass",
    "robovlms --help": "import robovlms_ros.cli.main",
    "an unconfigured vla_node (no torch)": "import robovlms_ros.nodes.vla_node",
    "the policy's runtime (no torch)": "import robovlms_ros.policy.controller",
    "torch": "import torch",
    "VLAPolicy": "from robovlms_ros.policy import VLAPolicy",
    "VLAPolicy and the classes of Kosmos-2": (
        "from robovlms_ros.policy import VLAPolicy; from transformers import Kosmos2ForConditionalGeneration"
    ),
}
PROBE = """
import json, resource, time
started = time.perf_counter()
{statement}
seconds, used = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
try:  # the other account begins with what the parent had
    lines = open("/proc/self/status").read().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
except OSError:
    peak = used.ru_maxrss
print(json.dumps([seconds, used.ru_utime + used.ru_stime, peak]))
"""
COLUMNS = ("what is imported", "import, s, least", "median", "CPU s of the process, least", "peak RSS, MB")


def measure(repeats: int, with_ros: bool, progress: Callable[[str], None]) -> list[Table]:
    """Import each in ``repeats`` fresh processes, in turns; ``with_ros``: the node too."""
    chosen = {name: code for name, code in STATEMENTS.items() if with_ros or "node" not in name}
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in chosen}
    for number in range(repeats + 1):
        for name, code in chosen.items():
            progress(name)
            once = _probe(code)
            if number:  # the first round fills the page cache
                found[name].append(once)
    rows = []
    for name, runs in found.items():
        walls, cpus, peaks = zip(*runs, strict=True)
        rows.append((name, min(walls), median(walls), min(cpus), max(peaks) / 1e6))
    notes = ("Fresh processes, files in the page cache; the interpreter's own start is in the CPU time only.",)
    return [Table("Import time and memory", COLUMNS, tuple(rows), notes)]


def _probe(statement: str) -> tuple[float, float, float]:
    command = [sys.executable, "-c", PROBE.format(statement=statement)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise ModelError(f"'{statement}' failed: {done.stderr.strip().splitlines()[-1:]}")
    wall, cpu, peak = json.loads(done.stdout)
    return wall, cpu, peak
