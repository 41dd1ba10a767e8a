"""``robovlms pack``: from upstream's files, or a training run, to a folder that the nodes load."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from robovlms_ros.model.errors import ConfigError

if TYPE_CHECKING:
    from robovlms_ros.policy.packing import Source


def pack(
    config: Annotated[
        Path, typer.Argument(help="Upstream's JSON configuration, or the folder of a training run.")
    ],
    checkpoint: Annotated[
        Path, typer.Argument(help="The checkpoint, .pt or .safetensors; of a run the folder to make.")
    ],
    out: Annotated[Path | None, typer.Argument(help="The folder to make; not with a training run.")] = None,
    vlm_dir: Annotated[
        Path | None,
        typer.Option(help="Folder with the backbone's config.json and tokenizer files; weights are not needed."),
    ] = None,
    robot: Annotated[
        str | None,
        typer.Option(help="Robot profile: a name, or your own YAML file. [default: calvin; a run's own]"),
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    which: Annotated[
        str, typer.Option("--checkpoint", help="Of a training run: best, last, or a number of steps.")
    ] = "best",
    head: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=CONFIG:CHECKPOINT", help="A further policy head on the same backbone, or NAME=RUN."
        ),
    ] = [],  # noqa: B006  typer copies it
    force: Annotated[bool, typer.Option("--force", help="Replace a packed model that is there already.")] = False,
) -> None:
    """Pack a model into a folder that the nodes load: upstream's configuration and checkpoint, or a training run.

    Nothing is downloaded, and no code inside the checkpoint is run. The checkpoint is mapped, so a large one
    needs little memory. Everything is checked as on loading; a folder that fails leaves nothing behind.

    Examples:

        robovlms pack kosmos_ph_calvin_abcd.json kosmos_ph_calvin_abcd.pt models/calvin
            --vlm-dir ~/models/kosmos-2-patch14-224 --robot calvin

        robovlms pack runs/cups models/cups --dtype bfloat16
    """
    from robovlms_ros.policy.packing import Source
    from robovlms_ros.policy.packing import pack as write
    from robovlms_ros.train.run_folder import RunFolder

    target = checkpoint if out is None else out
    with ExitStack() as stack:
        if out is None:
            run = RunFolder.open(config)
            source = stack.enter_context(_exported(config, which, target))
            vlm_dir, robot = vlm_dir or run.vlm, robot or str(run.robot)
        else:
            source = Source(config, checkpoint)
        heads = dict(_parse_head(text, which, target, stack) for text in head)
        progress = stack.enter_context(_progress())
        task = progress.add_task("checking", total=None)

        def show(done: int, total: int) -> None:
            progress.update(task, description="packing", completed=done, total=total)

        folder = write(*(source, target, vlm_dir, robot or "calvin", dtype, heads), force=force, progress=show)
    Console().print(f"packed {folder}; see it with: robovlms inspect {folder}", highlight=False, soft_wrap=True)


def _exported(run: Path, which: str, out: Path) -> AbstractContextManager[Source]:
    from robovlms_ros.train.export import exported

    return exported(run, which, out.expanduser().absolute().parent)


def _progress() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _parse_head(text: str, which: str, out: Path, stack: ExitStack) -> tuple[str, Source]:
    from robovlms_ros.policy.packing import Source
    from robovlms_ros.train.run_folder import RunFolder

    name, equals, paths = text.partition("=")
    if name and equals and RunFolder.is_run(Path(paths)):
        return name, stack.enter_context(_exported(Path(paths), which, out))
    config, colon, checkpoint = paths.partition(":")
    if not (name and equals and config and colon and checkpoint):
        raise ConfigError(f"--head {text!r}: write it as NAME=CONFIG:CHECKPOINT, or NAME=RUN with a training run")
    return name, Source(Path(config), Path(checkpoint))
