"""What figures were measured on, and what else that machine did meanwhile."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

VERSIONS = ("torch", "transformers", "numpy", "robovlms_ros")


class Load:
    """How much of the machine others used, between construction and `others`."""

    def __init__(self) -> None:
        self._busy, self._own, self._started = _busy_seconds(), _own_seconds(), time.monotonic()

    def others(self) -> float:
        """Return the cores that processes other than ours and our children kept busy. Children must have ended.

        NaN where the kernel gives no account of it.
        """
        busy, own = _busy_seconds() - self._busy, _own_seconds() - self._own
        return max(0.0, (busy - own) / (time.monotonic() - self._started)) if busy == busy else busy


def _busy_seconds() -> float:
    account = Path("/proc/stat")
    if not account.exists():
        return float("nan")
    user, nice, system, _, _, irq, softirq, steal = (
        int(field) for field in account.read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    return sum(os.times()[:4])


def processor() -> str:
    """Return the model of the CPU."""
    account = Path("/proc/cpuinfo")
    lines = account.read_text().splitlines() if account.exists() else []
    named = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.processor() or platform.machine()


def machine() -> dict[str, str]:
    """Return what everything was measured on, and with; imports nothing heavy."""
    found = {
        "cpu": processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
    }
    found["python"] = platform.python_version()
    for name in VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "-"
    found["ros"] = os.environ.get("ROS_DISTRO", "-")
    found["rmw"] = os.environ.get("RMW_IMPLEMENTATION", "default")
    return found


def in_words(facts: dict[str, str]) -> str:
    """Return `machine` as a line."""
    ros = "no ROS" if facts["ros"] == "-" else f"ROS 2 {facts['ros']} ({facts['rmw']})"
    return (
        f"{facts['cpu']}, {facts['cores']} cores, Python {facts['python']}, torch {facts['torch']}, "
        f"transformers {facts['transformers']}, {ros}, robovlms_ros {facts['robovlms_ros']}"
    )
