"""What can be wrong with a replay."""

from __future__ import annotations

from robovlms_ros.data.errors import DataError


class ReplayError(DataError):
    """A replay that cannot be made, or a result of one that cannot be read. The message says what to do."""
