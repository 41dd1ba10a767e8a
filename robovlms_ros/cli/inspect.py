"""``robovlms inspect``: what a packed model is, or what a configuration would make."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from robovlms_ros.model.errors import WeightsError


def inspect(
    model: Annotated[Path, typer.Argument(help="A folder made by 'robovlms pack', or a JSON configuration.")],
    policy_head: Annotated[str, typer.Option(help="One of its policy heads; empty for the model's own.")] = "",
    vlm_dir: Annotated[
        Path | None,
        typer.Option(help="For a configuration: folder with the backbone's config.json and tokenizer files."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Print what a packed model is, after loading it and checking its weights against the recorded digest.

    Of a configuration it says which model it makes, which of its keys have an effect and which have none.

    Example:

        robovlms inspect models/calvin
    """
    if model.is_file():
        from robovlms_ros.model.description import describe_config

        report = describe_config(model, vlm_dir)
    else:
        report = _describe_packed(model, policy_head)
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    else:
        _print(model, report)


def _describe_packed(folder: Path, policy_head: str) -> dict[str, Any]:
    from robovlms_ros.model.checkpoint import weights_digest
    from robovlms_ros.model.description import parameter_counts
    from robovlms_ros.policy.packed_model import open_packed
    from robovlms_ros.policy.vla_policy import VLAPolicy

    packed = open_packed(folder, policy_head)
    if weights_digest(packed.tensors()) != packed.weights_sha256:
        raise WeightsError(
            f"{folder}: the weights are not those that were packed: their digest differs; pack again"
        )
    policy = VLAPolicy.load(folder, policy_head, dtype=packed.packed.dtype)
    files = [path for path in folder.rglob("*.safetensors") if path.is_file()]
    return {
        "model": dict(policy.card),
        "parameters": parameter_counts(policy.model),
        "robot": policy.profile.model_dump(mode="json", exclude_none=True),
        "files": {
            "weights_verified": True,
            "bytes": sum(path.stat().st_size for path in files),
            "weights": sorted(path.relative_to(folder).as_posix() for path in files),
        },
    }


def _print(source: Path, report: Mapping[str, Any]) -> None:
    console = Console()
    console.print(str(source), style="bold", highlight=False, soft_wrap=True)
    for section, content in report.items():
        if not content:
            continue
        rows = content if isinstance(content, Mapping) else dict.fromkeys(content, "")
        table = Table(title=section, title_justify="left", show_header=False)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for key, value in rows.items():
            table.add_row(str(key).replace("_", " ") if section != "honoured" else str(key), _readable(value))
        console.print(table)


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
