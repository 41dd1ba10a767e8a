"""The parameters of sim_node. config/tabletop.yaml holds those that the tabletop needs of the other nodes."""

from __future__ import annotations

from robovlms_ros.policy.parameters import ParameterTable, Row

MODES = ("lock_step", "real_time")
FAMILIES = ("pick", "stack")
WORDINGS = ("canonical", "train", "held_out")

# fmt: off
SIM_NODE = ParameterTable([
    Row("mode", "real_time", "`lock_step` waits for the command that answers each image, `real_time` for nothing.",
        "at start", choices=MODES),
    Row("seed", 0, "Seed of the next episode; each one adds 1.", "any time", low=0, high=2_000_000_000),
    Row("family", "pick", "What is to be done, from the next episode on: `pick` up a block, or `stack` one on "
        "another.", "any time", choices=FAMILIES),
    Row("wording", "canonical", "Which sentences say so, from the next episode on; `held_out` were in no "
        "training.", "any time", choices=WORDINGS),
    Row("instruction", "", "What is said instead, from the next episode on; success is still that of the task.",
        "any time"),
    Row("randomize", False, "Whether light, colours, table and cameras change with the seed.", "at start"),
    Row("image_size", 96, "Side of the camera images in pixels.", "at start", low=16, high=640),
    Row("autostart", True, "Whether the first episode begins by itself; otherwise ~/reset begins it.", "at start"),
    Row("auto_reset", False, "Whether the next episode begins by itself after the end of one.", "any time"),
    Row("pause", 1.0, "Seconds from the end of an episode to the next, with auto_reset.", "any time", low=0.0,
        high=3600.0),
    Row("goals", True, "Whether the instruction is also sent as a goal of the policy's action, which begins an "
        "episode of the policy; no image is shown before it is accepted.", "at start"),
    Row("command_timeout", 0.2, "In real time, seconds after which a velocity that was not repeated ends.",
        "at start", low=0.01, high=10.0),
])
# fmt: on
