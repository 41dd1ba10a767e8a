"""Our generated messages and actions. The one place that imports them: they exist only once they are built."""

from __future__ import annotations

try:
    from robovlms_ros.action import RunInstruction
    from robovlms_ros.msg import ActionHistory, VLAAction, VLAActionChunk
except ImportError as error:
    raise ImportError(
        "robovlms_ros: its ROS 2 messages are not built or not on the path. In a ROS 2 workspace run "
        "'colcon build --packages-select robovlms_ros' and source install/setup.bash; with the PyPI wheels run "
        f"'make setup' and source scripts/env.sh. ({error})"
    ) from error

__all__ = ["ActionHistory", "RunInstruction", "VLAAction", "VLAActionChunk"]
