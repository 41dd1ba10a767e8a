"""How long a process takes until it can begin, and what it holds then."""

from __future__ import annotations

import json
import subprocess
import sys
import time
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
{statement}
ready, used = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
try:  # the other account begins with what the parent had
    lines = open("/proc/self/status").read().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
except OSError:
    peak = used.ru_maxrss
print(json.dumps([ready, used.ru_utime + used.ru_stime, peak]))
"""
COLUMNS = ("what is imported", "until ready, s, least", "median", "CPU s, least", "peak RSS, MB")


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
    notes = ("Fresh processes, from their start until the import is done; files are in the page cache.",)
    return [Table("Import time and memory", COLUMNS, tuple(rows), notes)]


def _probe(statement: str) -> tuple[float, float, float]:
    command = [sys.executable, "-c", PROBE.format(statement=statement)]
    started = time.monotonic()  # the same clock in all processes
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise ModelError(f"'{statement}' failed: {done.stderr.strip().splitlines()[-1:]}")
    ready, cpu, peak = json.loads(done.stdout)
    return ready - started, cpu, peak
