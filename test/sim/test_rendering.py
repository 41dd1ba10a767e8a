"""Finding a way to draw, and what is said where there is none. Each case is a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robovlms_ros.sim.camera import Renderer
from robovlms_ros.sim.errors import RenderingError
from robovlms_ros.sim.rendering import probe
from robovlms_ros.sim.world import World

ENVIRONMENT = """
from robovlms_ros.model.errors import ModelError
try:
    from robovlms_ros.sim.environment import TabletopEnvironment
    with TabletopEnvironment(image_size=16) as environment:
        print(environment.reset(0).images["static"].std() > 1)
except ModelError as error:
    print(type(error).__name__, error)
"""


def said(program: str, **variables: str) -> str:
    without = ("MUJOCO_GL", "PYOPENGL_PLATFORM", "DISPLAY")
    environment = {name: value for name, value in os.environ.items() if name not in without}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment, **variables},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    return done.stdout.strip()


def test_a_way_is_found_without_any_setting_and_whatever_other_programs_have_set(backend: str) -> None:
    assert said(ENVIRONMENT, PYOPENGL_PLATFORM="glx") == "True"


def test_a_way_that_does_not_work_is_named_with_two_cures(backend: str) -> None:
    message = said(ENVIRONMENT, MUJOCO_GL="osmesa" if backend == "egl" else "egl")
    if message == "True":
        pytest.skip("both EGL and OSMesa work here")
    assert message.startswith("RenderingError MUJOCO_GL=")
    assert "'unset MUJOCO_GL' or 'sudo apt install lib" in message


def test_a_setting_that_mujoco_does_not_know_is_named() -> None:
    message = said(ENVIRONMENT, MUJOCO_GL="crayon")
    assert message.startswith("RenderingError MUJOCO_GL=crayon draws no camera images: 'unset MUJOCO_GL'")


def test_drawing_that_is_switched_off_is_said() -> None:
    assert "RenderingError MUJOCO_GL=off draws no camera images: 'unset MUJOCO_GL'" in said(
        ENVIRONMENT, MUJOCO_GL="off"
    )


def test_a_machine_without_graphics_libraries_gets_one_command() -> None:
    program = (
        "import robovlms_ros.sim.rendering as rendering\n"
        "rendering.probe = lambda backend: f'no {backend} library'\n" + ENVIRONMENT
    )
    message = said(program)
    assert "egl: no egl library; osmesa: no osmesa library" in message
    assert message.endswith("'sudo apt install libegl1 libegl-mesa0 libgl1-mesa-dri'")


def test_a_graphics_stack_that_crashes_takes_only_its_probe_along(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A library of the right name that ends the process as soon as it is loaded."""
    source = tmp_path / "crash.c"
    source.write_text("#include <stdlib.h>\n__attribute__((constructor)) static void crash(void) { abort(); }\n")
    library = tmp_path / "libEGL.so.1"
    try:
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no C compiler here")
    (tmp_path / "libEGL.so").symlink_to(library)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    assert probe("egl") == "it crashed, exit status -6"


@pytest.mark.parametrize("setting", ["off", "egl", "osmesa", "crayon"])
def test_physics_needs_no_graphics(setting: str) -> None:
    program = (
        "from robovlms_ros.sim.environment import TabletopEnvironment\n"
        "environment = TabletopEnvironment(image_size=None)\n"
        "print(environment.reset(0).images)"
    )
    assert said(program, MUJOCO_GL=setting) == "{'static': None, 'hand': None}"


def test_two_renderers_take_turns_and_a_closed_one_says_so(world: World, backend: str) -> None:
    world.reset(0)
    with Renderer(world.model, 24, backend) as small, Renderer(world.model, 48, backend) as large:
        first = small.draw(world.data, "static")
        assert large.draw(world.data, "static").shape == (48, 48, 3)
        np.testing.assert_array_equal(small.draw(world.data, "static"), first)
    small.close()
    with pytest.raises(RenderingError, match="closed"):
        small.draw(world.data, "static")


@pytest.mark.parametrize("size", [0, 641])
def test_images_have_a_size_that_can_be_drawn(world: World, backend: str, size: int) -> None:
    with pytest.raises(ValueError, match="1 to 640"):
        Renderer(world.model, size, backend)
