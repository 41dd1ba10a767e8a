"""What a replay ran on: versions and machine."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from xml.etree import ElementTree

from robovlms_ros.policy.share import find_shared

# What the numbers of an action depend on.
DISTRIBUTIONS = ("robovlms_ros", "torch", "transformers", "safetensors", "numpy", "pillow", "rosbags")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the distributions that actions depend on."""
    found = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = _own_version() if name == "robovlms_ros" else "absent"
    return found


def machine() -> dict[str, str]:
    """Return what this machine is, and how many threads torch uses."""
    facts = {"platform": platform.platform(), "processor": _processor(), "cores": str(os.cpu_count())}
    torch = sys.modules.get("torch")
    if torch is not None:
        facts["threads"] = str(torch.get_num_threads())
    return facts


def _own_version() -> str:
    """From package.xml, where colcon has built the package: that leaves no Python metadata."""
    manifest = find_shared("package.xml")
    version = ElementTree.parse(manifest).findtext("version") if manifest else None
    return version or "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
