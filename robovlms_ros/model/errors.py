"""What can be wrong with a model, its configuration or its input. Free of torch, so that anybody may catch it."""

from __future__ import annotations


class ModelError(ValueError):
    """Base of all of them. The message is one that a user can act on: it names the thing and the cure."""


class ConfigError(ModelError):
    """A model configuration that cannot be used."""


class WeightsError(ModelError):
    """A checkpoint that is unreadable, unsafe, or does not fit its configuration."""


class ProfileError(ModelError):
    """A robot profile that cannot be used, or does not fit the model."""


class ObservationError(ModelError):
    """An observation that the model cannot take: nothing was predicted and no state has changed."""


class DeviceMemoryError(ModelError):
    """The memory of the device (a GPU) is used up. To try again at once would fail again."""
