"""A run for `accelerate launch`: ``train_in_processes.py OUTPUT BATCH_SIZE [JSON]``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from training_sets import make_config, make_source, run_quietly

# Of different lengths, so that the processes have different numbers of targets.
SOURCE_STEPS = (2, 3, 4, 5, 6, 2)


def sections(batch_size: int, **further: object) -> dict[str, object]:
    """The run's configuration, see `training_sets.make_config`."""
    return {
        "optim": {"steps": 5, "batch_size": batch_size, "accumulate": 2, "learning_rate": 1e-3, "dropout": False},
        "data": {"validation_fraction": 0.3, "left_pad": True},
        "validation": {"every": 2, "windows": 7},
        "seed": 5,
    } | further


if __name__ == "__main__":
    output, batch_size, *more = sys.argv[1:]
    further = json.loads(more[0]) if more else {}
    run_quietly(make_config(Path(output), **sections(int(batch_size), **further)), make_source(steps=SOURCE_STEPS))
