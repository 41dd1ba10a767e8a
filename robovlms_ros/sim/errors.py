"""What can be missing or wrong around the simulator. Free of MuJoCo, so that anybody may catch it."""

from __future__ import annotations

from robovlms_ros.model.errors import ModelError


class SimulatorError(ModelError):
    """The simulator cannot do what was asked. The message names the cure."""


class RenderingError(SimulatorError):
    """This machine cannot draw camera images."""
