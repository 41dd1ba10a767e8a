"""What the machine refuses a run (disk, memory) as errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from robovlms_ros.model.errors import DeviceMemoryError, ModelError
from robovlms_ros.policy.compute import OUT_OF_MEMORY


class RunError(ModelError):
    """A run cannot go on. What it has saved is whole."""


@contextmanager
def explained(output: Path) -> Iterator[None]:
    """Around a run with this output: errors of the operating system and of the device become a `ModelError`."""
    try:
        yield
    except OUT_OF_MEMORY as error:
        raise DeviceMemoryError(
            "the memory of the device is used up: lower optim.batch_size and raise optim.accumulate, set "
            "optim.precision to bfloat16, or train_setup.gradient_checkpointing in model.overrides "
            f"({str(error).splitlines()[0]})"
        ) from error
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"{output}: {error}; what was saved is whole. Free some space or choose another disk, and go on with "
            "--resume where there is a checkpoint"
        ) from error
