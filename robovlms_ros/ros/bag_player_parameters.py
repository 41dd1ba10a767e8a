"""The parameters of bag_player_node."""

from __future__ import annotations

from robovlms_ros.policy.parameters import ParameterTable, Row

# fmt: off
BAG_PLAYER_NODE = ParameterTable([
    Row("bag", "", "What is played: a rosbag2 folder, an .mcap or a .db3 file.", "at start"),
    Row("rate", 1.0, "Seconds of the bag's time in one of ours.", "any time", low=0.01, high=100.0),
    Row("start", 0.0, "Seconds into the bag at which it begins; what was latched before is said first.",
        "at start", low=0.0, high=1e6),
    Row("loop", False, "Whether it begins again at its end; the clock jumps back, and vla_node begins an episode.",
        "any time"),
    Row("paused", False, "Whether it waits for ~/set_paused before the first message.", "at start"),
    Row("clock_rate", 100.0, "Times a second that /clock is published; also right before every message.",
        "at start", low=1.0, high=1000.0),
    Row("wait_for", "", "A lifecycle node, such as vla_node, that must be active before the first message.",
        "at start"),
])
# fmt: on
