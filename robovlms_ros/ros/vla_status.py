"""What the vla_node says about itself in `/diagnostics`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node

from robovlms_ros.policy.decision import ACTING, INTENDED
from robovlms_ros.ros.camera_input import CameraInput
from robovlms_ros.ros.clock import now_ns
from robovlms_ros.ros.diagnostics import ERROR, OK, WARN, status
from robovlms_ros.ros.state_input import StateInput
from robovlms_ros.ros.vla_runtime import VLARuntime


def vla_status(
    node: Node, lifecycle_state: str, problem: str, runtime: VLARuntime | None, values: Mapping[str, Any]
) -> list[DiagnosticStatus]:
    """Return the status of the node, then one for each camera and each part of the robot's state.

    ``problem``: why the node is not where it should be.
    """
    level, message = (ERROR, problem) if problem else (OK, lifecycle_state)
    pairs: dict[str, object] = {"state": lifecycle_state}
    inputs: list[DiagnosticStatus] = []
    if runtime:
        now = now_ns(node)
        inputs = [_camera_status(node, camera, values["images.max_age"], now) for camera in runtime.inputs]
        if lifecycle_state == "active" and not problem:
            level, message = _control_state(runtime, values)
        pairs |= _control_values(runtime, now)
        inputs += [_state_status(node, each, values["state.max_age"], now) for each in runtime.state_inputs]
    return [_named(node, "control", level, message, pairs), *inputs]


def _control_state(runtime: VLARuntime, values: Mapping[str, Any]) -> tuple[bytes, str]:
    hung = runtime.thread.busy_for
    if hung > values["watchdog.inference_timeout"]:
        return ERROR, f"an inference has been running for {hung:.1f} s"
    hold = runtime.activity()
    if hold is None:
        return (WARN, "acting, but slower than its steps") if runtime.output.timing.slow else (OK, ACTING)
    return OK if hold in INTENDED else WARN, hold.value


def _control_values(runtime: VLARuntime, now: int) -> dict[str, object]:
    thread, controller = runtime.thread, runtime.controller
    idle = max(0, now - runtime.output.last_ns) * 1e-9 if runtime.output.last_ns else "never"
    with thread.condition:
        values: dict[str, object] = {
            "model": runtime.space.model_id,
            "instruction": repr(controller.instruction),
            "episode": controller.episode,
            "actions in episode": controller.sequence,
            "actions published": runtime.output.published,
            "seconds since last action": idle,
            "failures in a row": controller.failures,
            "frames overtaken": controller.overtaken,
            "latency p50 (ms)": runtime.output.timing.latency.percentile(50) * 1e3,
            "latency p95 (ms)": runtime.output.timing.latency.percentile(95) * 1e3,
        }
        if runtime.policy.card.get("action_encoder"):
            lag = controller.history_lag
            values["history rows behind"] = lag.rows
            values["history rows behind, most"] = lag.most
            values["history windows behind"] = f"{lag.behind} of {lag.windows}"
        values |= {
            f"{stage} p50 (ms)": times.percentile(50) * 1e3
            for stage, times in runtime.output.timing.stages.items()
        }
        values |= {f"count of {reason}": count for reason, count in sorted(controller.counts.items())}
    return values


def _camera_status(node: Node, camera: CameraInput, max_age: float, now: int) -> DiagnosticStatus:
    silent = camera.monitor.silent_for(now)
    received, taken = camera.monitor.rates()
    lost = max(0.0, 1 - received / taken) if taken else 0.0
    level, message = OK, "receiving"
    if not camera.monitor.received:
        level, message = WARN, f"no image on {camera.topic} yet"
        if camera.mismatched_publishers:
            message += "; a publisher with another QoS is there"
    elif silent > max_age:
        level, message = WARN, f"no image on {camera.topic} for {silent:.1f} s"
    elif lost > 0.1:
        level, message = WARN, f"{lost:.0%} of the frames do not arrive; does the camera use config/fastdds.xml?"
    pairs = {
        "topic": camera.topic,
        "frames received": camera.monitor.received,
        "seconds since last frame": silent,
        "rate received (Hz)": received,
        "rate by stamps (Hz)": taken,
        "share lost": lost,
        "frames without stamp": camera.unstamped,
        "publishers with incompatible QoS": camera.mismatched_publishers,
    }
    return _named(node, f"camera {camera.camera}", level, message, pairs)


def _state_status(node: Node, state: StateInput, max_age: float, now: int) -> DiagnosticStatus:
    silent, refused = state.silent_for(now), sum(state.refused.values())
    level, message = OK, "receiving"
    if silent > max_age:
        level, message = (
            WARN,
            f"no {state.part} on {state.topic}" + (f" for {silent:.1f} s" if state.received else ""),
        )
    if silent > max_age and refused:
        message += f"; {refused} messages refused: {', '.join(state.refused)}"
    pairs = {
        "topic": state.topic,
        "samples received": state.received,
        "seconds since last sample": silent,
        "messages without stamp": state.unstamped,
    }
    pairs |= {f"refused: {reason}": count for reason, count in sorted(state.refused.items())}
    return _named(node, f"state {state.part}", level, message, pairs)


def _named(node: Node, part: str, level: bytes, message: str, pairs: Mapping[str, object]) -> DiagnosticStatus:
    return status(level, f"{node.get_name()}: {part}", message, node.get_fully_qualified_name(), pairs)
