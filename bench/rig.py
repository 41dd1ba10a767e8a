"""What the node benchmarks share: figures with targets, how they are printed, and what else the machine did."""

# ruff: noqa: T201  a benchmark prints

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One measured number. ``target`` is the most that it may be; None where there is none."""

    name: str
    value: float
    unit: str
    target: float | None = None

    @property
    def reached(self) -> bool:
        """Whether the target is met; a value that is not a number never meets one."""
        return self.target is None or self.value <= self.target


# -- what it was measured on, and what else ran


class Load:
    """How much of the machine others used, between construction and `others`."""

    def __init__(self) -> None:
        self._busy, self._own, self._started = _busy_seconds(), _own_seconds(), time.monotonic()

    def others(self) -> float:
        """Return the cores that processes other than ours and our children kept busy. Children must have ended."""
        busy, own = _busy_seconds() - self._busy, _own_seconds() - self._own
        return max(0.0, (busy - own) / (time.monotonic() - self._started))


def _busy_seconds() -> float:
    user, nice, system, _, _, irq, softirq, steal = (
        int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    return sum(os.times()[:4])


def machine() -> str:
    """Return what the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    distribution = os.environ.get("ROS_DISTRO", "?")
    return (
        f"{cpu}, {os.cpu_count()} cores, ROS 2 {distribution}, {os.environ.get('RMW_IMPLEMENTATION', 'default')}"
    )


# -- command line


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Return the parser that all of these scripts begin with."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


def report(sections: dict[str, list[Figure]], others: float, as_json: bool) -> int:
    """Print what was measured; return 0 where every target is reached."""
    figures = [figure for section in sections.values() for figure in section]
    if as_json:
        content = {
            "machine": machine(),
            "cores_used_by_others": round(others, 2),
            "figures": {
                name: [{**asdict(figure), "reached": figure.reached} for figure in section]
                for name, section in sections.items()
            },
        }
        print(json.dumps(content, indent=2))
    else:
        print(f"{machine()}; other processes kept {others:.2f} cores busy\n")
        print("| figure | measured | target | |\n|---|---|---|---|")
        for name, section in sections.items():
            for figure in section:
                target = "" if figure.target is None else f"<= {figure.target:g} {figure.unit}"
                verdict = "" if figure.target is None else "ok" if figure.reached else "MISSED"
                print(f"| {name}: {figure.name} | {figure.value:.4g} {figure.unit} | {target} | {verdict} |")
    return 0 if all(figure.reached for figure in figures) else 1


def wait_quietly(seconds: float) -> None:
    """Let things settle."""
    threading.Event().wait(seconds)
