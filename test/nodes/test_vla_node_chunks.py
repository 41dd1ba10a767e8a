"""Actions at the control rate while the model works on the next chunk, over real DDS and with real threads."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("rclpy")
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from std_srvs.srv import SetBool, Trigger

from robovlms_ros.ros.messages import to_nanoseconds, to_time

Start = Callable[..., Any]
STEP = 1 / 30  # of the null policy's profile
OVERLAP = {"chunk.mode": "open_loop", "chunk.overlap": True}
SECOND = 1_000_000_000


@pytest.fixture
def camera(graph: Any) -> Iterator[Callable[..., Any]]:
    """Make a node see an image at a rate: ``camera(node, rate)``."""
    timers = []

    def start(node: Any, rate: float = 60.0) -> Any:
        node.see()
        timers.append(graph.helper.create_timer(1 / rate, lambda: node.see()))
        return timers[-1]

    yield start
    for timer in timers:
        graph.helper.destroy_timer(timer)


def place(action: Any) -> tuple[int, int]:
    return to_nanoseconds(action.header.stamp), action.step_index


def is_still(action: Any) -> bool:
    return not any(getattr(part, axis) for part in (action.translation, action.rotation) for axis in "xyz")


def test_actions_leave_while_an_inference_runs(vla: Start, scripted: Any, camera: Any) -> None:
    release = threading.Event()

    def wait(_: Any, chunk: Any) -> Any:
        assert len(node.policy.seen) == 1 or release.wait(20)
        return chunk

    node = vla(scripted(wait, chunk=20), parameters=OVERLAP)
    node.say("go")
    camera(node)
    graph, runtime = node.graph, node.node._runtime
    graph.wait_for(lambda: len(node.policy.seen) == 2, "the second inference")
    before = len(node.actions)
    graph.wait_for(lambda: len(node.actions) >= before + 5, "actions while it runs")
    assert runtime.thread.busy_for > 0
    assert len({action.header.stamp.nanosec for action in node.actions}) == 1, "all of the one chunk"
    release.set()
    graph.wait_for(lambda: node.actions[-1].header.stamp != node.actions[0].header.stamp, "the second chunk")


def test_a_slow_model_gives_actions_at_the_control_rate(vla: Start, scripted: Any, camera: Any) -> None:
    node = vla(scripted(chunk=30, delay=0.3), parameters=OVERLAP)
    node.say("go")
    camera(node)
    graph, runtime = node.graph, node.node._runtime
    graph.wait_for(lambda: len(node.policy.seen) >= 6, "six inferences")
    actions = list(node.actions)
    assert [action.sequence for action in actions] == list(range(len(actions)))
    assert len({place(action) for action in actions}) == len(actions), "no action of a chunk is executed twice"
    published = [to_nanoseconds(action.header.stamp) + to_nanoseconds(action.latency) for action in actions]
    took = (published[-1] - published[0]) / SECOND
    assert len(actions) > 1.5 * len(node.policy.seen), "more actions than answers of the model"
    assert took > 0.9 * STEP * (len(actions) - 2), "and never faster than the control rate"
    # What was meant for the time of the inference is skipped, and no more than that.
    firsts = [b for a, b in itertools.pairwise(actions) if a.header.stamp != b.header.stamp]
    assert all(1 <= action.step_index < 30 for action in firsts)
    assert node.counts()["late step"] >= sum(action.step_index for action in firsts)
    # Each inference began with a fresh frame, not with one that had waited for the last inference to end.
    assert runtime.output.timing.stages["wait"].percentile(50) < 0.15
    assert runtime.controller.overtaken > len(node.policy.seen)


def test_each_action_is_timed_by_its_chunk(vla: Start, scripted: Any, camera: Any) -> None:
    node = vla(scripted(chunk=20, delay=0.1), parameters=OVERLAP)
    node.say("go")
    camera(node)
    node.graph.wait_for(lambda: len(node.policy.seen) >= 3, "some inferences")
    runtime = node.node._runtime
    assert {"wait", "decode", "model"} <= set(runtime.output.timing.stages)
    assert len(runtime.output.timing.latency) <= len(node.policy.seen), (
        "only the first action of a chunk tells a latency"
    )


@pytest.mark.parametrize("mode", ["ensemble", "blend"])
def test_the_other_modes_run_paced_by_images_and_by_the_clock(
    vla: Start, scripted: Any, camera: Any, mode: str
) -> None:
    node = vla(scripted(chunk=10), parameters={"chunk.mode": mode})
    node.say("go")
    answers = [node.act() for _ in range(5)]
    assert [action.step_index for action in answers] == [0] * 5
    assert node.node.set_parameters([Parameter("chunk.overlap", value=True)])[0].successful
    camera(node)
    node.graph.wait_for(lambda: len(node.actions) > 15, "actions at the control rate")
    assert node.node.set_parameters([Parameter("chunk.overlap", value=False)])[0].successful
    node.graph.wait_for(lambda: node.actions[-1].step_index == 0, "an action for an image")


def test_settings_that_contradict_each_other_are_refused_with_the_reason(vla: Start, scripted: Any) -> None:
    node = vla(scripted(chunk=5)).node
    result = node.set_parameters([Parameter("chunk.overlap", value=True)])[0]
    assert not result.successful
    assert "set chunk.mode to" in result.reason
    assert not node.get_parameter("chunk.overlap").value
    together = [Parameter("chunk.mode", value="blend"), Parameter("chunk.blend_steps", value=6)]
    result = node.set_parameters_atomically(together)
    assert not result.successful
    assert "the model predicts 5" in result.reason


def test_a_configuration_that_contradicts_itself_is_refused_with_the_reason(vla: Start, scripted: Any) -> None:
    node = vla(scripted(chunk=5), "unconfigured", {"chunk.overlap": True})
    assert not node.transition("configure")
    assert "chunk.mode" in node.node.last_error


# -- starvation


def starve(vla: Start, scripted: Any, policy: str, timeout: float) -> Any:
    """A node that has one image and a chunk of five actions."""
    node = vla(
        scripted(chunk=5),
        parameters={**OVERLAP, "chunk.horizon": 5, "chunk.starvation": policy, "watchdog.timeout": timeout},
    )
    node.say("go")
    node.see()
    node.graph.wait_for(lambda: len(node.actions) >= 5, "the chunk")
    assert [action.step_index for action in node.actions[:5]] == list(range(5))
    return node


def test_hold_publishes_nothing_when_the_chunk_is_used_up(vla: Start, scripted: Any) -> None:
    node = starve(vla, scripted, "hold", 30.0)
    node.wait_for_count("starved", 10)
    assert len(node.actions) == 5


def test_zero_publishes_no_motion_at_each_step(vla: Start, scripted: Any) -> None:
    node = starve(vla, scripted, "zero", 30.0)
    node.graph.wait_for(lambda: len(node.actions) >= 10, "actions of no motion")
    assert all(is_still(action) and action.gripper == node.actions[4].gripper for action in node.actions[5:])
    assert [action.sequence for action in node.actions[:10]] == list(range(10))


def test_zero_ends_with_the_watchdog(vla: Start, scripted: Any) -> None:
    node = starve(vla, scripted, "zero", 0.3)
    node.wait_for_count("watchdog stop")
    node.graph.wait_for(lambda: node.node._runtime.controller.sequence == len(node.actions), "all actions")
    node.graph.stays(lambda: node.node._runtime.controller.sequence == len(node.actions), 0.2)


def test_stop_publishes_one_stop_action(vla: Start, scripted: Any) -> None:
    node = starve(vla, scripted, "stop", 30.0)
    node.graph.wait_for(lambda: len(node.actions) == 6, "the stop action")
    assert is_still(node.actions[5])
    node.graph.stays(lambda: len(node.actions) == 6, 0.2)
    node.see()
    node.graph.wait_for(lambda: len(node.actions) >= 7, "the next chunk")
    assert not is_still(node.actions[6])


def test_an_arm_that_starves_often_is_reported(vla: Start, scripted: Any, camera: Any) -> None:
    node = vla(scripted(chunk=2, delay=0.2), parameters=OVERLAP)
    node.say("go")
    camera(node)
    node.graph.wait_for(
        lambda: node.node._status()[0].message == "acting, but slower than its steps", "the warning", timeout=30
    )


# -- nothing obsolete


def test_a_reset_ends_the_chunk(vla: Start, scripted: Any, camera: Any) -> None:
    node = vla(scripted(chunk=30), parameters=OVERLAP)
    node.say("go")
    camera(node)
    node.graph.wait_for(lambda: len(node.actions) > 5, "actions")
    assert node.graph.call(Trigger, "vla_node/reset", Trigger.Request()).success
    node.graph.wait_for(lambda: node.actions[-1].episode == 1, "the next episode")
    episodes = [action.episode for action in node.actions]
    assert episodes == sorted(episodes)
    second = [action for action in node.actions if action.episode == 1]
    assert [action.sequence for action in second] == list(range(len(second)))


@pytest.mark.fault(12)
def test_another_instruction_ends_the_chunk(vla: Start, scripted: Any, camera: Any) -> None:
    node = vla(scripted(chunk=30), parameters=OVERLAP)
    node.say("pick")
    camera(node)
    node.graph.wait_for(lambda: len(node.actions) > 5, "actions")
    node.say("push")
    node.graph.wait_for(lambda: node.actions[-1].instruction == "push", "the next instruction")
    assert [(a.instruction, a.episode) for a in node.actions] == sorted(
        (a.instruction, a.episode) for a in node.actions
    )


@pytest.mark.parametrize("end", ["deactivate", "disable", "silence"])
def test_after_the_end_there_is_one_stop_action_and_nothing_else(
    vla: Start, scripted: Any, camera: Any, end: str
) -> None:
    node = vla(scripted(chunk=30, delay=0.05), parameters=OVERLAP)
    node.say("go")
    camera(node)
    node.graph.wait_for(lambda: len(node.actions) > 5, "actions")
    if end == "deactivate":
        assert node.transition("deactivate")
    elif end == "disable":
        assert node.graph.call(SetBool, "vla_node/set_enabled", SetBool.Request(data=False)).success
    else:
        node.say("")
    runtime = node.node._runtime
    node.graph.wait_for(lambda: len(node.actions) == runtime.output.published, "all actions")
    count = len(node.actions)
    assert [is_still(action) for action in node.actions] == [False] * (count - 1) + [True]
    node.graph.stays(lambda: len(node.actions) == count, 0.3)


def test_a_node_that_is_active_again_begins_with_a_new_chunk(vla: Start, scripted: Any, camera: Any) -> None:
    node = vla(scripted(chunk=30), parameters=OVERLAP)
    node.say("go")
    camera(node)
    node.graph.wait_for(lambda: len(node.actions) > 5, "actions")
    assert node.transition("deactivate")
    count = node.node._runtime.output.published
    assert node.transition("activate")
    node.graph.wait_for(lambda: len(node.actions) > count, "actions again")
    again = node.actions[count]
    assert (again.episode, again.sequence) == (1, 0)
    assert place(again)[0] not in {place(action)[0] for action in node.actions[: count - 1]}


# -- time


def test_steps_are_paced_by_the_simulated_clock(vla: Start, scripted: Any, graph: Any) -> None:
    node = vla(scripted(chunk=10), parameters={**OVERLAP, "chunk.horizon": 10, "use_sim_time": True, "rate": 10.0})
    publisher = graph.publisher(Clock, "/clock", 1)

    def set_clock(nanoseconds: int) -> None:
        publisher.publish(Clock(clock=to_time(nanoseconds)))
        graph.wait_for(lambda: node.node.get_clock().now().nanoseconds == nanoseconds, "the simulated time")

    set_clock(100 * SECOND)
    node.say("go")
    node.see(graph.image(100 * SECOND))
    graph.wait_for(lambda: node.policy.seen, "the inference")
    graph.stays(lambda: not node.actions, 0.3)
    for i in range(1, 5):
        set_clock(100 * SECOND + i * SECOND // 10)
        graph.wait_for(lambda n=i: len(node.actions) == n, f"action {i}")
    assert [action.step_index for action in node.actions] == [0, 1, 2, 3]
    graph.stays(lambda: len(node.actions) == 4, 0.3)


def test_an_instruction_that_must_be_repeated_stops_the_arm_until_it_is(
    vla: Start, scripted: Any, camera: Any
) -> None:
    node = vla(scripted(), parameters={"instruction.max_age": 1.5})
    node.say("go")
    repeat = node.graph.helper.create_timer(0.05, lambda: node.say_again("go"))
    camera(node, 30.0)
    node.graph.wait_for(lambda: node.actions, "actions")
    node.graph.stays(lambda: "stale instruction" not in node.counts(), 2.0)
    node.graph.helper.destroy_timer(repeat)
    node.wait_for_count("stale instruction")
    node.graph.wait_for(lambda: len(node.actions) == node.node._runtime.output.published, "all actions")
    assert is_still(node.actions[-1])
    count = len(node.actions)
    node.graph.stays(lambda: len(node.actions) == count, 0.2)
    assert "was not repeated" in node.node._status()[0].message
    node.say_again("go")
    node.graph.wait_for(lambda: len(node.actions) > count, "actions again")
    assert node.actions[count].episode == 0
