"""The parameters of each node, and the settings made from them. config/vla.yaml holds the same keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from robovlms_ros.policy.chunk_settings import CHUNK_MODES, STARVATIONS, ChunkSettings
from robovlms_ros.policy.decision import ControlSettings
from robovlms_ros.policy.parameters import ParameterTable, Row
from robovlms_ros.policy.policy_loader import Box, LimitPair
from robovlms_ros.policy.safety import Limits
from robovlms_ros.policy.workspace import Workspace

RELIABILITIES = ("best_effort", "reliable")
THREE_CHANNEL_ORDERS = ("bgr", "rgb")

# fmt: off
VLA_NODE = ParameterTable([
    Row("model.path", "", "Folder of the packed model (`robovlms pack` makes one), or the name of a built-in one; "
        "empty = `tabletop`, which is for the simulator and warns."),
    Row("model.policy_head", "", "One of the policy heads in that folder; empty = the model's own."),
    Row("model.device", "cpu", "`cpu`, `cuda` or `cuda:N`; one that is absent is an error, never the CPU."),
    Row("model.dtype", "float32", "Arithmetic of the model.",
        choices=("float32", "bfloat16", "float16")),
    Row("model.preprocess", "fast", "`exact` repeats the training pipeline pixel for pixel, more slowly.",
        choices=("fast", "exact")),
    Row("model.allow_download", False, "Whether model.path may name a model to fetch from the network."),
    Row("model.threads", 0, "Threads of the CPU that the model computes with; 0 = torch's own choice.",
        low=0, high=1024),
    Row("images.transport", "raw", "`compressed` listens to TOPIC/compressed (JPEG or PNG) instead of TOPIC.",
        choices=("raw", "compressed")),
    Row("images.reliability", "best_effort", "`reliable` hears only publishers that are reliable, too.",
        choices=RELIABILITIES),
    Row("images.hand.enabled", True, "Whether to use the hand camera where the model takes one."),
    Row("images.three_channel_order", "bgr", "What an image with the encoding 8UC3 holds.",
        choices=THREE_CHANNEL_ORDERS),
    Row("images.max_age", 0.5, "Seconds after which an image is too old to act on.", low=0.001, high=60.0),
    Row("images.sync_slop", 0.05, "Seconds that the stamps of two images used together may differ.",
        low=0.0, high=10.0),
    Row("images.future_tolerance", 0.2, "Seconds that a stamp may lie ahead of the node's clock.",
        low=0.0, high=60.0),
    Row("state.source", "none", "`topics` listens to tool_pose and, for the gripper, to joint_states.",
        choices=("none", "topics")),
    Row("state.max_age", 0.2, "Seconds between an image and the state used with it, at most; also the age of the "
        "newest pose that a workspace is held against.", low=0.001, high=60.0),
    Row("state.gripper_joint", "", "Joint of the gripper in joint_states; empty = the state is the pose alone."),
    Row("state.gripper_closed", 0.0, "Position of that joint where the gripper is closed."),
    Row("state.gripper_open", 0.0, "Position of that joint where the gripper is open."),
    Row("enabled", True, "Whether actions are published; ~/set_enabled sets it, too.", "any time"),
    Row("instruction.max_age", 0.0, "Seconds after which an instruction that was not repeated stops the arm until "
        "it is; 0 = it holds until another comes.", "any time", low=0.0, high=3600.0),
    Row("rate", 0.0, "Actions per second. Without chunk.overlap the most, paced by image stamps, 0 = one for each "
        "image; with it the control rate, 0 = the robot profile's.", "any time", low=0.0, high=1000.0),
    Row("chunk.mode", "first", "`first` executes the first action of each predicted chunk, `open_loop` "
        "chunk.horizon of them, `ensemble` the weighted mean of what all chunks hold for the moment, `blend` the "
        "newest chunk, which takes over gradually.", "any time", choices=CHUNK_MODES),
    Row("chunk.horizon", 1, "Actions of a chunk, in `open_loop` and with overlap in `blend`, that are past before "
        "the model runs again.", "any time", low=1, high=1000),
    Row("chunk.overlap", False, "Whether actions leave at the control rate while the model works on the next "
        "chunk; otherwise one leaves for each image. Not with `first`.", "any time"),
    Row("chunk.ensemble_decay", 0.01, "m of the weights exp(-m i) of `ensemble`, i = 0 for the oldest chunk; "
        "below 0 the newest counts most.", "any time", low=-10.0, high=10.0),
    Row("chunk.blend_steps", 3, "Steps within which a new chunk takes over in `blend`; 0 = at once.", "any time",
        low=0, high=1000),
    Row("chunk.starvation", "hold", "With overlap, what happens when a chunk is used up before the next is there: "
        "`hold` publishes nothing, `zero` an action of no motion at each step until the watchdog ends it, `stop` "
        "one.", "any time", choices=STARVATIONS),
    Row("limits.enabled", True, "Whether the three limits below apply.", "any time"),
    Row("limits.translation", 0.0, "Longest translation of one action in metres; 0 = the robot profile's.",
        "any time", low=0.0, high=10.0),
    Row("limits.rotation", 0.0, "Largest rotation of one action in radians; 0 = the robot profile's.",
        "any time", low=0.0, high=6.2831853),
    Row("limits.workspace", (), "Box that the tool is kept in: x_min, y_min, z_min, x_max, y_max, z_max in metres "
        "in the frame of the actions; empty = the robot profile's. It needs tool_pose: see state.source.",
        "any time", length=6),
    Row("action_frame", "", "Frame of the actions; empty = the robot profile's."),
    Row("history.source", "topic", "`topic` takes the windows of action_history_node, `internal` keeps them "
        "inside this node.", choices=("topic", "internal")),
    Row("history.length", 16, "Executed actions that the model is shown, at most.", low=1, high=1024),
    Row("history.wait", 0.0, "Seconds after an action for which images wait until action_history holds it; 0 = "
        "what is missing is shown to the model as missing.", "any time", low=0.0, high=60.0),
    Row("watchdog.timeout", 1.0, "Seconds without a new action until one stop action; 0 = never.",
        low=0.0, high=3600.0),
    Row("watchdog.inference_timeout", 10.0, "Seconds after which a running inference is reported as hung, and its "
        "answer thrown away.",
        low=0.1, high=3600.0),
    Row("watchdog.max_failures", 5, "Failed inferences in a row after which the node deactivates itself.",
        low=1, high=1000),
    Row("overlay.rate", 5.0, "Most pictures per second on ~/overlay; drawn while somebody listens. 0 = none.",
        low=0.0, high=60.0),
    Row("autostart", True, "Whether the node configures and activates itself.", "at start"),
])

ACTION_HISTORY_NODE = ParameterTable([
    Row("history.length", 16, "Executed actions in a window.", "at start", low=1, high=1024),
])
# fmt: on


def control_settings(
    values: Mapping[str, Any], profile_limits: LimitPair, profile_workspace: Box | None = None
) -> ControlSettings:
    """Return the settings of a control step. Raises ValueError where they contradict each other."""
    numbers = values["limits.workspace"]
    if not numbers and profile_workspace is not None:
        numbers = [*profile_workspace.min, *profile_workspace.max]
    workspace = Workspace.of_numbers(numbers)
    limits = Limits()
    if values["limits.enabled"]:
        limits = Limits(
            translation=values["limits.translation"] or profile_limits.translation,
            rotation=values["limits.rotation"] or profile_limits.rotation,
            workspace=workspace,
        )
    return ControlSettings(
        max_age_ns=_nanoseconds(values["images.max_age"]),
        future_tolerance_ns=_nanoseconds(values["images.future_tolerance"]),
        rate=values["rate"],
        chunk=ChunkSettings(
            mode=values["chunk.mode"],
            horizon=values["chunk.horizon"],
            overlap=values["chunk.overlap"],
            ensemble_decay=values["chunk.ensemble_decay"],
            blend_steps=values["chunk.blend_steps"],
            starvation=values["chunk.starvation"],
        ),
        limits=limits,
        watchdog_ns=_nanoseconds(values["watchdog.timeout"]),
        inference_timeout_ns=_nanoseconds(values["watchdog.inference_timeout"]),
        max_failures=values["watchdog.max_failures"],
        history_wait_ns=_nanoseconds(values["history.wait"]) if values["history.source"] == "topic" else 0,
        instruction_max_age_ns=_nanoseconds(values["instruction.max_age"]),
        enabled=values["enabled"],
    )


def sync_slop_ns(values: Mapping[str, Any]) -> int:
    """Return the slop of two cameras in nanoseconds."""
    return _nanoseconds(values["images.sync_slop"])


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
