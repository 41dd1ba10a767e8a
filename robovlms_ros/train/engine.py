"""accelerate, set up for this loop."""

from __future__ import annotations

from typing import Any

from robovlms_ros.model.errors import ConfigError

_MISSING = "training needs the package accelerate: pip install 'robovlms_ros[train]'"


def make_accelerator(precision: str, accumulate: int, clip: float = 0.0, batch_size: int = 1) -> Any:
    """An ``Accelerator``: one CPU or GPU, or whatever ``accelerate launch`` has set up around this process.

    Raises `ConfigError` where accelerate is not installed.
    """
    try:
        from accelerate import Accelerator
        from accelerate.utils import DistributedDataParallelKwargs, GradientAccumulationPlugin
    except ImportError as error:
        raise ConfigError(_MISSING) from error
    accelerator = Accelerator(
        mixed_precision="bf16" if precision == "bfloat16" else "no",
        # The loop reads its own batches, so there is no loader of accelerate's whose end could matter.
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=accumulate, sync_with_dataloader=False),
        # Some backbones hold weights that an image of one kind does not reach.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    deepspeed = accelerator.state.deepspeed_plugin
    if deepspeed is not None:
        # What it would otherwise take from a loader, and clips by itself.
        deepspeed.deepspeed_config |= {"train_micro_batch_size_per_gpu": batch_size, "gradient_clipping": clip}
    return accelerator


def process_count() -> int:
    """How many processes train together."""
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise ConfigError(_MISSING) from error
    count: int = PartialState().num_processes
    return count


def is_sharded(accelerator: Any) -> bool:
    """Whether a process holds only a part of the network (FSDP, DeepSpeed)."""
    return str(accelerator.distributed_type.value) in ("FSDP", "DEEPSPEED")
