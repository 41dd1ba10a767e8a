"""``robovlms inspect``: what a packed model is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from robovlms_ros.model.errors import WeightsError


def inspect(
    model: Annotated[Path, typer.Argument(help="A folder made by 'robovlms pack'.")],
    policy_head: Annotated[str, typer.Option(help="One of its policy heads; empty for the model's own.")] = "",
) -> None:
    """Load a packed model, check its weights against the recorded digest, and print what it is.

    Example:

        robovlms inspect models/calvin
    """
    from robovlms_ros.model.checkpoint import weights_digest
    from robovlms_ros.policy.packed_model import open_packed
    from robovlms_ros.policy.vla_policy import VLAPolicy

    packed = open_packed(model, policy_head)
    if weights_digest(packed.tensors()) != packed.weights_sha256:
        raise WeightsError(
            f"{model}: the weights are not those that were packed: their digest differs; pack again"
        )
    policy = VLAPolicy.load(model, policy_head, dtype=packed.packed.dtype)
    table = Table(title=str(model), show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in policy.card.items():
        table.add_row(key.replace("_", " "), _readable(value))
    Console().print(table)


def _readable(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {_readable(item)}" for key, item in value.items())
    return "none" if value is None else str(value)
