"""The parameters as a document: ``python -m robovlms_ros.ros.parameter_docs docs/parameters.md``."""

from __future__ import annotations

import sys
from pathlib import Path

from robovlms_ros.policy.parameter_tables import ACTION_HISTORY_NODE, VLA_NODE
from robovlms_ros.ros.arm_bridge_parameters import ARM_BRIDGE_NODE
from robovlms_ros.ros.bag_player_parameters import BAG_PLAYER_NODE
from robovlms_ros.ros.sim_parameters import SIM_NODE


def parameter_docs() -> str:
    """The document, in Markdown."""
    return (
        "# Parameters\n\n"
        "Written by `python -m robovlms_ros.ros.parameter_docs docs/parameters.md`. "
        "[`config/vla.yaml`](../config/vla.yaml) holds the same, ready to copy.\n\n"
        f"## vla_node\n\n{VLA_NODE.markdown().strip()}\n\n"
        f"## action_history_node\n\n{ACTION_HISTORY_NODE.markdown().strip()}\n\n"
        f"## arm_bridge_node\n\n{ARM_BRIDGE_NODE.markdown().strip()}\n\n"
        f"## bag_player_node\n\n{BAG_PLAYER_NODE.markdown().strip()}\n\n"
        f"## sim_node\n\n{SIM_NODE.markdown().strip()}\n"
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(parameter_docs())
