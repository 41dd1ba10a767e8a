"""What goes wrong before an evaluation can begin."""

from __future__ import annotations

from robovlms_ros.model.errors import ModelError


class EvaluationError(ModelError):
    """A model, a dataset or an environment that cannot be evaluated; the message says what to do."""
