"""``robovlms untrained``: a small model with random weights, to try the machinery with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def untrained(
    out: Annotated[Path, typer.Argument(help="The folder to make.")],
    window: Annotated[int, typer.Option(min=1, help="Steps that the policy head remembers.")] = 8,
    chunk: Annotated[int, typer.Option(min=1, help="Actions per prediction.")] = 10,
    hand: Annotated[bool, typer.Option(help="Whether the model takes a hand camera too.")] = False,
    image_size: Annotated[int, typer.Option(min=14, help="Side of its images in pixels, a multiple of 14.")] = 224,
    seed: Annotated[int, typer.Option(help="Of the random weights.")] = 0,
    action_encoder: Annotated[bool, typer.Option(help="Whether previous actions become tokens.")] = False,
    robot: Annotated[str, typer.Option(help="Robot profile: a name, or your own YAML file.")] = "calvin",
) -> None:
    """Make a small Kosmos-2 with random weights, offline, and pack it. **Its actions mean nothing.**

    It takes the same path as a published checkpoint and runs in milliseconds: for tests, demos and wiring.

    Example:

        robovlms untrained models/untrained --hand
    """
    from robovlms_ros.policy.untrained import make_untrained

    folder = make_untrained(
        out,
        robot=robot,
        window=window,
        chunk=chunk,
        hand=hand,
        image_size=image_size,
        seed=seed,
        action_encoder=action_encoder,
    )
    Console().print(
        f"packed {folder}. Its weights are UNTRAINED (random): the actions mean nothing, keep them off a robot.",
        highlight=False,
        soft_wrap=True,
    )
