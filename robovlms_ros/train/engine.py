"""accelerate, set up for this loop."""

from __future__ import annotations

import os
from typing import Any

import torch

from robovlms_ros.model.errors import ConfigError

_MISSING = "training needs the package accelerate: pip install 'robovlms_ros[train]'"


def make_accelerator(precision: str, accumulate: int, clip: float = 0.0, batch_size: int = 1) -> Any:
    """An ``Accelerator``: one CPU or GPU, or whatever ``accelerate launch`` has set up around this process.

    Raises `ConfigError` where accelerate is not installed.
    """
    try:
        from accelerate import Accelerator
        from accelerate.utils import GradientAccumulationPlugin
    except ImportError as error:
        raise ConfigError(_MISSING) from error
    accelerator = Accelerator(
        cpu=_on_cpu(),
        mixed_precision="bf16" if precision == "bfloat16" else "no",
        # The loop reads its own batches, so there is no loader of accelerate's whose end could matter.
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=accumulate, sync_with_dataloader=False),
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
    count: int = PartialState(cpu=_on_cpu()).num_processes
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if count != launched:
        # Each would take itself for the only one, and write into the folder of the others.
        raise ConfigError(
            f"{launched} processes were launched, but accelerate sees {count}; launch them with 'accelerate "
            "launch' (on CPUs with ACCELERATE_USE_CPU=true and --multi_gpu)"
        )
    return count


def _on_cpu() -> bool:
    """accelerate joins processes without a GPU only where it is told that there is none."""
    told = os.environ.get("ACCELERATE_USE_CPU", "false").lower() in ("1", "true", "yes")
    there = torch.cuda.is_available() or torch.backends.mps.is_available() or torch.xpu.is_available()
    return told or not there


def expect_unused(accelerator: Any, unused: bool) -> None:
    """Tell before ``prepare`` whether no loss reaches some trained weights; looking for them takes time."""
    from accelerate.utils import DistributedDataParallelKwargs

    accelerator.ddp_handler = DistributedDataParallelKwargs(find_unused_parameters=unused)


def is_sharded(accelerator: Any) -> bool:
    """Whether a process holds only a part of the network (FSDP, DeepSpeed)."""
    return str(accelerator.distributed_type.value) in ("FSDP", "DEEPSPEED")
