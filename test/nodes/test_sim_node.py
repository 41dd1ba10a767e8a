"""The closed loop over DDS: in lock step it is the one in one process, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("mujoco")
from acting import SensitivePolicy
from tabletop import Tabletop

from robovlms_ros.policy.chunk_settings import ChunkSettings
from robovlms_ros.sim.closed_loop import ClosedLoop, LoopSettings
from robovlms_ros.sim.environment import TabletopEnvironment


@pytest.mark.parametrize(("output", "horizon"), [("twist", 1), ("pose", 3)])
def test_in_lock_step_episodes_over_dds_are_those_in_one_process(graph: Any, output: str, horizon: int) -> None:
    chunk = {"chunk.mode": "open_loop", "chunk.horizon": horizon}
    table = Tabletop(graph, vla_node=chunk, arm_bridge_node={"outputs": [output, "trajectory"]})
    settings = LoopSettings(ChunkSettings("open_loop", horizon), output)
    with TabletopEnvironment("pick", image_size=32) as environment:
        loop = ClosedLoop(SensitivePolicy(), environment, settings)
        for seed in range(2):
            found, expected = table.run(), loop.run(seed)
            assert (found.seed, found.instruction) == (seed, expected.instruction)
            assert (found.state == "succeeded", found.steps) == (expected.succeeded, expected.steps)
            np.testing.assert_array_equal(table.simulation.robot.executed, expected.actions)


def test_in_real_time_commands_move_the_arm_and_episodes_end(graph: Any) -> None:
    table = Tabletop(graph, mode="real_time", sim_node={"auto_reset": True, "pause": 0.0})
    table.reset()
    graph.wait_for(lambda: table.simulation.episode.over, "an end", timeout=60)
    graph.wait_for(lambda: table.simulation.episode.number >= 1, "the next begins by itself", timeout=30)
