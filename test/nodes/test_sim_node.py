"""The closed loop over DDS: in lock step it is the one in one process, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("mujoco")
from acting import SensitivePolicy
from std_srvs.srv import Trigger
from tabletop import Tabletop, configured

from robovlms_ros.policy.chunk_settings import ChunkSettings
from robovlms_ros.policy.parameter_tables import VLA_NODE, control_settings
from robovlms_ros.policy.robot_profile import load_profile
from robovlms_ros.ros.arm_bridge_parameters import ARM_BRIDGE_NODE, bridge_settings
from robovlms_ros.sim.closed_loop import ClosedLoop, LoopSettings, profile_limits
from robovlms_ros.sim.closed_loop import bridge_settings as loop_bridge_settings
from robovlms_ros.sim.environment import TabletopEnvironment

# Patient on a busy machine.
pytestmark = pytest.mark.timeout(600)


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


@pytest.mark.parametrize("output", ["twist", "pose"])
def test_the_loop_in_one_process_has_the_settings_of_the_parameter_files(output: str) -> None:
    values = {**ARM_BRIDGE_NODE.defaults(), **configured("arm_bridge_node", "tabletop", "tabletop_lock_step")}
    node, loop = bridge_settings({**values, "outputs": (output, "trajectory")}), loop_bridge_settings(output)
    assert (node.lock_step, node.outputs, node.linear, node.angular) == (
        *(loop.lock_step, loop.outputs),
        *(loop.linear, loop.angular),
    )
    assert node.pose == loop.pose
    assert (node.gripper.closed, node.gripper.opened) == (loop.gripper.closed, loop.gripper.opened)
    vla = {**VLA_NODE.defaults(), **configured("vla_node", "tabletop", "tabletop_lock_step")}
    profile = load_profile("tabletop")
    assert control_settings(vla, profile.limits, profile.workspace).limits == profile_limits(profile)
    assert vla["history.length"] == LoopSettings().history_length


def test_an_episode_whose_policy_stops_by_itself_is_aborted_and_the_next_goes_on(graph: Any) -> None:
    table = Tabletop(graph)
    table.reset()
    episode = table.simulation.episode
    graph.wait_for(lambda: episode.steps > 2, "some steps", timeout=60)
    assert graph.call(Trigger, "vla_node/reset", Trigger.Request()).success
    graph.wait_for(lambda: table.simulation.idle, "its end", timeout=30)
    assert (episode.state, episode.why) == ("aborted", "the policy stopped: the episode was reset")
    table.reset()
    graph.wait_for(lambda: table.simulation.episode.steps > 2, "steps of the next", timeout=60)
    graph.wait_for(lambda: table.told and table.told[-1].message.startswith("running: pick up"), "what is told")


def test_in_real_time_commands_move_the_arm_and_episodes_end(graph: Any) -> None:
    table = Tabletop(graph, mode="real_time", sim_node={"auto_reset": True, "pause": 0.0})
    table.reset()
    graph.wait_for(lambda: table.simulation.episode.over, "an end", timeout=60)
    graph.wait_for(lambda: table.simulation.episode.number >= 1, "the next begins by itself", timeout=30)
