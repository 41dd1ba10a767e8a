"""What can be wrong with recorded data."""

from __future__ import annotations

from robovlms_ros.model.errors import ModelError


class DataError(ModelError):
    """Recorded data that cannot be used. The message names the file, the episode and the step, and the cure."""
