"""``robovlms pack``: from upstream's files to a folder that the nodes load."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from robovlms_ros.model.errors import ConfigError

if TYPE_CHECKING:
    from robovlms_ros.policy.packing import Source


def pack(
    config: Annotated[Path, typer.Argument(help="Upstream's JSON configuration.")],
    checkpoint: Annotated[Path, typer.Argument(help="The checkpoint, .pt or .safetensors.")],
    out: Annotated[Path, typer.Argument(help="The folder to make.")],
    vlm_dir: Annotated[
        Path | None,
        typer.Option(help="Folder with the backbone's config.json and tokenizer files; weights are not needed."),
    ] = None,
    robot: Annotated[str, typer.Option(help="Robot profile: a name, or your own YAML file.")] = "calvin",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    head: Annotated[
        list[str],
        typer.Option(metavar="NAME=CONFIG:CHECKPOINT", help="A further policy head on the same backbone."),
    ] = [],  # noqa: B006  typer copies it
    force: Annotated[bool, typer.Option("--force", help="Replace a packed model that is there already.")] = False,
) -> None:
    """Pack an upstream configuration and checkpoint into a folder that the nodes load.

    Nothing is downloaded, and no code inside the checkpoint is run. The checkpoint is mapped, so a large one
    needs little memory. Everything is checked as on loading; a folder that fails leaves nothing behind.

    Example:

        robovlms pack kosmos_ph_calvin_abcd.json kosmos_ph_calvin_abcd.pt models/calvin
            --vlm-dir ~/models/kosmos-2-patch14-224 --robot calvin
    """
    from robovlms_ros.policy.packing import Source
    from robovlms_ros.policy.packing import pack as write

    heads = dict(_parse_head(text) for text in head)
    with _progress() as progress:
        task = progress.add_task("checking", total=None)

        def show(done: int, total: int) -> None:
            progress.update(task, description="packing", completed=done, total=total)

        folder = write(Source(config, checkpoint), out, vlm_dir, robot, dtype, heads, force=force, progress=show)
    Console().print(f"packed {folder}; see it with: robovlms inspect {folder}", highlight=False, soft_wrap=True)


def _progress() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _parse_head(text: str) -> tuple[str, Source]:
    from robovlms_ros.policy.packing import Source

    name, equals, paths = text.partition("=")
    config, colon, checkpoint = paths.partition(":")
    if not (name and equals and config and colon and checkpoint):
        raise ConfigError(f"--head {text!r}: write it as NAME=CONFIG:CHECKPOINT")
    return name, Source(Path(config), Path(checkpoint))
