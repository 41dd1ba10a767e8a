"""The simulator is an extra, and drawing needs a graphics library: what lacks either is skipped here, by name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("mujoco")

from robovlms_ros.sim.environment import TabletopEnvironment
from robovlms_ros.sim.errors import RenderingError
from robovlms_ros.sim.rendering import find_backend
from robovlms_ros.sim.world import World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(scope="session")
def backend() -> str:
    try:
        return find_backend()
    except RenderingError as error:
        pytest.skip(str(error))


@pytest.fixture
def environment(backend: str) -> Iterator[TabletopEnvironment]:
    with TabletopEnvironment("pick", image_size=32, backend=backend) as made:
        yield made
