"""Finds a way to draw without a screen, before anything depends on it.

A broken graphics stack raises whatever it likes, or takes its process with it. So each way is tried in a process
of its own, which draws one image of the tabletop, and only one that worked there is used here.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys

from robovlms_ros.sim.errors import RenderingError

# In the order of preference: EGL uses a graphics card where there is one.
BACKENDS = ("egl", "osmesa")
# What MUJOCO_GL may also name: a window that is not shown, which needs a screen all the same.
WINDOW = "glfw"
PACKAGES = {"egl": "libegl1 libegl-mesa0 libgl1-mesa-dri", "osmesa": "libosmesa6"}
PROBE_TIMEOUT = 60.0
_LOADED_AT_IMPORT = ("MUJOCO_GL", "PYOPENGL_PLATFORM")


@functools.cache
def find_backend() -> str:
    """The way to draw on this machine: ``MUJOCO_GL`` where the user has set it, else the first that works.

    Takes about a second, once per process. Raises `RenderingError`, one sentence with the command that helps.
    """
    chosen = os.environ.get("MUJOCO_GL", "").strip().lower()
    if chosen:
        if chosen not in (*BACKENDS, WINDOW):
            raise RenderingError(
                f"MUJOCO_GL={chosen} draws no camera images: 'unset MUJOCO_GL', or set it to one of "
                f"{', '.join(BACKENDS)}"
            )
        problem = probe(chosen)
        if problem is None:
            return chosen
        install = f" or '{_install(chosen)}'" if chosen in PACKAGES else ""
        raise RenderingError(
            f"MUJOCO_GL={chosen} is set and does not work here ({problem}): 'unset MUJOCO_GL'{install}"
        )
    problems = {}
    for backend in BACKENDS:
        problem = probe(backend)
        if problem is None:
            return backend
        problems[backend] = problem
    tried = "; ".join(f"{backend}: {problem}" for backend, problem in problems.items())
    raise RenderingError(f"no way to draw camera images without a screen was found ({tried}): '{_install('egl')}'")


def probe(backend: str) -> str | None:
    """None where ``backend`` draws on this machine, otherwise what is wrong in a few words."""
    # MuJoCo loads what these name when it is imported, where a failure would have no name.
    environment = {name: value for name, value in os.environ.items() if name not in _LOADED_AT_IMPORT}
    command = [sys.executable, "-m", "robovlms_ros.sim.rendering_probe", backend]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PROBE_TIMEOUT)
    except subprocess.TimeoutExpired:
        return f"no image within {PROBE_TIMEOUT:.0f} s"
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"it crashed, exit status {done.returncode}"


def _install(backend: str) -> str:
    return f"sudo apt install {PACKAGES[backend]}"
