"""``robovlms train``: from recorded episodes to a model that ``robovlms pack`` takes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def train(
    config: Annotated[Path, typer.Argument(help="The run as YAML; config/train has examples.")],
    settings: Annotated[
        list[str],
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change a value of it; may be given repeatedly."),
    ] = [],  # noqa: B006  typer copies it
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint of its output.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, measure a few steps, and write nothing.")
    ] = False,
) -> None:
    """Train or fine-tune a model on dataset folders (`robovlms import-bag`, `robovlms data`).

    Everything that can be known beforehand is checked before a weight is loaded. What the run will take of memory,
    disk and time is measured and printed first. Ctrl-C ends it after the step at hand, with a checkpoint.

    Exit status: 0 when all steps are done, 1 on an error, 130 or 143 when ended by SIGINT or SIGTERM.

    Examples:

        robovlms train config/train/untrained.yaml --dry-run

        robovlms train finetune.yaml --set optim.batch_size=8 --set output=runs/cups

        robovlms train runs/cups/training.yaml --resume

        accelerate launch --num_processes 4 -m robovlms_ros.cli.main train finetune.yaml

        robovlms pack runs/cups models/cups
    """
    from robovlms_ros.train.config_file import read_training_config
    from robovlms_ros.train.run import train as run

    # Of several processes the first one talks.
    console = Console(stderr=True, quiet=os.environ.get("RANK", "0") != "0")
    content = read_training_config(config, settings)
    # The run's own copy has the values of --set, too.
    again = f"go on with: robovlms train {content.output / 'training.yaml'} --resume"
    try:
        outcome = run(content, resume=resume, dry_run=dry_run, console=console)
    except KeyboardInterrupt:
        console.print(f"stopped at once; where there is a checkpoint, {again}", highlight=False, soft_wrap=True)
        raise typer.Exit(130) from None
    if dry_run:
        console.print("dry run: nothing was trained or written", highlight=False)
        return
    if outcome.signal:
        console.print(f"ended after {outcome.steps} steps; {again}", highlight=False, soft_wrap=True)
        raise typer.Exit(128 + outcome.signal)
    console.print(
        f"trained {outcome.folder}; pack it with: robovlms pack {outcome.folder} MODEL_FOLDER",
        highlight=False,
        soft_wrap=True,
    )
