"""What the kernel knows about a process: memory, threads, open files, processor time."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessStats:
    """``resident`` and ``anonymous`` memory in bytes; ``cpu`` seconds used so far, by user and kernel.

    Anonymous memory is the process's own: heap and stacks. Resident memory also counts mapped files and the
    shared memory in which DDS passes images, which is filled once and then used again.
    """

    resident: int
    anonymous: int
    threads: int
    files: int
    cpu: float


def process_stats(pid: int) -> ProcessStats:
    """Read the state of process ``pid``. Raises ProcessLookupError where there is none (Linux only)."""
    folder = Path("/proc") / str(pid)
    try:
        lines = (folder / "status").read_text().splitlines()
        files = len(list((folder / "fd").iterdir()))
        user, system = (folder / "stat").read_text().rpartition(")")[2].split()[11:13]
    except FileNotFoundError as error:
        raise ProcessLookupError(f"there is no process {pid}") from error
    status = dict(line.split(":", 1) for line in lines)
    if "VmRSS" not in status:
        raise ProcessLookupError(f"process {pid} has ended")
    return ProcessStats(
        resident=int(status["VmRSS"].split()[0]) * 1024,
        anonymous=int(status["RssAnon"].split()[0]) * 1024,
        threads=int(status["Threads"]),
        files=files,
        cpu=(int(user) + int(system)) / os.sysconf("SC_CLK_TCK"),
    )
