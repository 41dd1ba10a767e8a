"""What the vla_node says about itself in `/diagnostics`. docs/diagnostics.md explains every key.

Keys never come and go while the node runs, so that they can be plotted and alarms set on them; what was not
measured yet is nan. The exception: stages and reasons for drops that only some policies know are added.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node

from robovlms_ros.policy.chunk_settings import ChunkSettings
from robovlms_ros.policy.decision import ACTING, INTENDED
from robovlms_ros.ros.clock import now_ns
from robovlms_ros.ros.diagnostics import ERROR, OK, WARN, Part
from robovlms_ros.ros.input_status import camera_part, history_part, state_part
from robovlms_ros.ros.output_status import latency_part, limits_part, model_part
from robovlms_ros.ros.vla_runtime import VLARuntime

# Why an image, an answer or a step of a chunk gave no action, or an action was a stop.
FAULTS = (
    *("duplicate stamp", "backward stamp", "future stamp", "stale image", "undecodable image"),
    *("duplicate state", "backward state", "future state", "no tool pose"),
    *("unusable observation", "inference failed", "not finite", "wrong shape", "answer of a hung inference"),
    *("late chunk", "starved", "watchdog stop", "stale instruction", "refused instruction", "malformed history"),
)
# These belong to how the node is meant to work.
ORDINARY = ("late step", "superseded during inference", "clock jump")


class VLAStatus:
    """Collects the statuses of ``node``; remembers what was dropped before, to tell what is being dropped now."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._dropped: Counter[str] = Counter()

    def collect(
        self, lifecycle_state: str, problem: str, runtime: VLARuntime | None, values: Mapping[str, Any], goal: str
    ) -> list[DiagnosticStatus]:
        """Return the status of the node, then those of its parts.

        ``problem``: why the node is not where it should be. ``goal``: what became of the newest one.
        """
        now = now_ns(self._node)
        level, message = (ERROR, problem) if problem else (OK, lifecycle_state)
        about: dict[str, object] = {"state": lifecycle_state, "clock": self._clock(now), "goal": goal}
        if runtime is None:
            return [Part("control", level, message, about).status(self._node)]
        if lifecycle_state == "active" and not problem:
            level, message = _activity(runtime, values)
        parts = [
            Part("control", level, message, about | _control_values(runtime, now)),
            self._drops(runtime),
            latency_part(runtime.output.timing),
            limits_part(runtime.output.timing, runtime.controller.settings.limits),
            history_part(runtime, values),
            model_part(runtime),
            *(camera_part(camera, values["images.max_age"], now) for camera in runtime.inputs),
            *(state_part(state, values["state.max_age"], now) for state in runtime.state_inputs),
        ]
        return [part.status(self._node) for part in parts]

    def _clock(self, now: int) -> str:
        if not self._node.get_parameter("use_sim_time").value:
            return "system"
        return "simulated" if now > 0 else "simulated, nothing on /clock yet"

    def _drops(self, runtime: VLARuntime) -> Part:
        with runtime.thread.condition:
            counts, overtaken = Counter(runtime.controller.counts), runtime.controller.overtaken
        recent = {reason: counts[reason] - self._dropped[reason] for reason in counts if reason not in ORDINARY}
        self._dropped = Counter(counts)
        newly = [f"{reason} {count}x" for reason, count in recent.items() if count > 0]
        values: dict[str, object] = {reason: counts.pop(reason, 0) for reason in (*FAULTS, *ORDINARY)}
        values |= {"frames overtaken": overtaken, **dict(sorted(counts.items()))}
        if newly:
            return Part("drops", WARN, f"since the last report: {', '.join(newly)}", values)
        return Part("drops", OK, "nothing since the last report", values)


def _activity(runtime: VLARuntime, values: Mapping[str, Any]) -> tuple[bytes, str]:
    hung = runtime.thread.busy_for
    if hung > values["watchdog.inference_timeout"]:
        return ERROR, f"an inference has been running for {hung:.1f} s"
    hold = runtime.activity()
    if hold is None:
        return (WARN, "acting, but slower than its steps") if runtime.output.timing.slow else (OK, ACTING)
    return OK if hold in INTENDED else WARN, hold.value


def _control_values(runtime: VLARuntime, now: int) -> dict[str, object]:
    controller, output = runtime.controller, runtime.output
    with runtime.thread.condition:
        return {
            "instruction": repr(controller.instruction),
            "episode": controller.episode,
            "actions in episode": controller.sequence,
            "actions published": output.published,
            "actions per second": output.timing.rate(now),
            "seconds since last action": max(0, now - output.last_ns) * 1e-9 if output.last_ns else float("nan"),
            "chunk mode": _chunk_mode(controller.settings.chunk),
            "failures in a row": controller.failures,
            "subscribers with incompatible QoS": output.mismatched_subscribers,
        }


def _chunk_mode(chunk: ChunkSettings) -> str:
    words: list[str] = [chunk.mode]
    if chunk.mode == "open_loop" or chunk.overlap:
        words.append(f"horizon {chunk.horizon}")
    if chunk.overlap:
        words.append(f"overlapped, then {chunk.starvation}")
    return ", ".join(words)
