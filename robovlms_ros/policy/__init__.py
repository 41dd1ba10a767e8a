"""The runtime without ROS: a packed model, images and an instruction in, physical actions out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from robovlms_ros.policy.types import ActionChunk, HistoryWindow, Observation

if TYPE_CHECKING:
    from robovlms_ros.policy.vla_policy import VLAPolicy

__all__ = ["ActionChunk", "HistoryWindow", "Observation", "VLAPolicy"]


def __getattr__(name: str) -> Any:
    # VLAPolicy pulls torch and transformers in (4.6 s, 345 MB): only where somebody asks for it.
    if name == "VLAPolicy":
        from robovlms_ros.policy.vla_policy import VLAPolicy

        return VLAPolicy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
