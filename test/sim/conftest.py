"""The simulator is an extra. Without MuJoCo nothing here is collected, without a way to draw some is skipped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from robovlms_ros.sim.environment import TabletopEnvironment
    from robovlms_ros.sim.world import World

try:
    import mujoco  # noqa: F401
except ImportError:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def world() -> World:
    from robovlms_ros.sim.world import World

    return World()


@pytest.fixture(scope="session")
def backend() -> str:
    from robovlms_ros.sim.errors import RenderingError
    from robovlms_ros.sim.rendering import find_backend

    try:
        return find_backend()
    except RenderingError as error:
        pytest.skip(str(error))


@pytest.fixture
def environment(backend: str) -> Iterator[TabletopEnvironment]:
    from robovlms_ros.sim.environment import TabletopEnvironment

    with TabletopEnvironment("pick", image_size=32, backend=backend) as made:
        yield made
