"""When a loss stops being a number: which window it was."""

from __future__ import annotations

from typing import Any

import torch

from robovlms_ros.model.errors import ModelError
from robovlms_ros.train.batch import Batch
from robovlms_ros.train.episode_table import EpisodeTable
from robovlms_ros.train.network import TrainingNetwork

_MOST_NAMED = 5


class DivergenceError(ModelError):
    """The loss or its gradient is NaN or infinite; the weights are still those of the step before."""


def explain_divergence(
    accelerator: Any, network: TrainingNetwork, step: int, batches: list[Batch], table: EpisodeTable
) -> DivergenceError:
    """The error to raise, the same in every process: the windows whose loss is no number by itself, by name."""
    named: list[str] = [name for batch in batches for name in _without_a_loss(network, batch, table)]
    windows = sum(len(batch.instructions) for batch in batches) * accelerator.num_processes
    if accelerator.num_processes > 1:
        from accelerate.utils import gather_object

        named = gather_object(named)
    if len(named) == windows > 1:
        where = "in all of its windows: the weights are useless now; begin anew with a lower optim.learning_rate"
    elif named:
        more = f" and {len(named) - _MOST_NAMED} more" if named[_MOST_NAMED:] else ""
        where = f"in {'; '.join(named[:_MOST_NAMED])}{more}"
    else:
        where = "in no single window: the gradient is too large; lower optim.learning_rate, or use float32"
    return DivergenceError(
        f"training step {step + 1}: the loss or its gradient is NaN or infinite, {where}. The weights were not "
        "changed by it; the checkpoints are those of the steps before"
    )


@torch.no_grad()
def _without_a_loss(network: TrainingNetwork, batch: Batch, table: EpisodeTable) -> list[str]:
    network.eval()
    names = []
    for row in range(len(batch.instructions)):
        one = batch.rows([row])
        if not torch.isfinite(network(one)["loss"]):
            steps = one.steps[0].tolist()
            names.append(f"episode {table.identifiers[int(one.episode[0])]}, steps {steps[0]} to {steps[-1]}")
    return names
