"""``robovlms data``: look at recorded episodes, count them, and turn them into what training reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from robovlms_ros.model.errors import ModelError

if TYPE_CHECKING:
    from robovlms_ros.data.folder.format import ImageFormat
    from robovlms_ros.data.folder.reader import FolderSource
    from robovlms_ros.data.statistics import ActionStatistics

app = typer.Typer(
    help="Recorded episodes: import, look at, count, convert.", no_args_is_help=True, rich_markup_mode="markdown"
)

Dataset = Annotated[Path, typer.Argument(help="A dataset folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Encoding = Annotated[str, typer.Option(help="How images are stored: jpeg, or png, which keeps every pixel.")]
Quality = Annotated[int, typer.Option(help="Of JPEG, 1 to 100.", min=1, max=100)]
Resize = Annotated[
    int,
    typer.Option(
        help="Scale whole images to a square of this side, as the models do; 224 makes training several times "
        "faster to read. 0 leaves them as they are.",
        min=0,
        max=4096,
    ),
]


def image_format(encoding: str, quality: int, resize: int, keep_recorded: bool = True) -> ImageFormat:
    """The options of the command line, checked."""
    from robovlms_ros.data.folder.format import ImageFormat

    if encoding not in ("jpeg", "png"):
        raise ModelError(f"--encoding is {encoding!r}; choose jpeg or png")
    content = {"encoding": encoding, "quality": quality, "resize": resize or None, "keep_recorded": keep_recorded}
    return ImageFormat.model_validate(content)


@app.command()
def info(dataset: Dataset, as_json: AsJson = False) -> None:
    """Print what a dataset is: episodes, steps, cameras, instructions, sizes, and what its import left out.

    Example:

        robovlms data info datasets/kitchen
    """
    from robovlms_ros.cli.data_tables import dropped_table, info_table, instruction_table
    from robovlms_ros.data.folder.reader import open_dataset

    source = open_dataset(dataset)
    report = _describe(source)
    if as_json:
        instructions = sorted({row.instruction for row in source.rows})
        dropped = [group.model_dump() for group in source.info.dropped]
        typer.echo(json.dumps({**report, "instructions": instructions, "dropped": dropped}, indent=2))
        return
    console = Console()
    console.print(info_table(source, report))
    console.print(instruction_table(source))
    if source.info.dropped:
        console.print(dropped_table(source.info.dropped))


def _describe(source: FolderSource) -> dict[str, object]:
    lengths = sorted(row.steps for row in source.rows)
    seconds = sum(row.steps * row.step_duration for row in source.rows)
    first = source[0]
    sizes = [f"{camera} {w} x {h}" for camera in first.cameras for h, w, _ in [first.image(camera, 0).shape]]
    size = sum(path.stat().st_size for path in source.folder.rglob("*") if path.is_file())
    info = source.info
    return {
        "name": info.name,
        "complete": "yes" if info.complete else "no: its import was interrupted; repeat the command to go on",
        "episodes": len(source),
        "steps": sum(lengths),
        "duration": f"{seconds:.1f} s",
        "steps_per_episode": f"{lengths[0]} to {lengths[-1]}, median {lengths[len(lengths) // 2]}",
        "cameras": ", ".join(sizes) or "none",
        "images": f"{info.images.encoding}" + (f", scaled to {info.images.resize}" if info.images.resize else ""),
        "states": "yes" if first.states is not None else "no",
        "frame": source.frame,
        "rotation_format": source.rotation_format,
        "step_duration": f"{info.step_duration:g} s",
        "imported_from": f"{info.origin.importer}: {info.origin.path}",
        "bytes": size,
    }


@app.command()
def stats(
    dataset: Dataset,
    robot_profile: Annotated[
        Path | None, typer.Option(help="Write a robot profile with these statistics.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the profile; empty for that of its file.")] = "",
    smallest_range: Annotated[
        float,
        typer.Option(
            help="Range in metres or radians given to dimensions that did not move; 0 refuses them.", min=0
        ),
    ] = 0.0,
    window: Annotated[int, typer.Option(help="Of the model: window_size.", min=1)] = 8,
    chunk: Annotated[int, typer.Option(help="Of the model: fwd_pred_next_n.", min=1)] = 10,
    as_json: AsJson = False,
) -> None:
    """Print the statistics of the actions per dimension, and write the robot profile that they belong in.

    Rotations are counted as roll, pitch and yaw, which is what models predict.

    Example:

        robovlms data stats datasets/kitchen --robot-profile my_arm.yaml
    """
    from robovlms_ros.cli.data_tables import progress_bar, statistics_table
    from robovlms_ros.data.folder.reader import open_dataset
    from robovlms_ros.data.statistics import DIMENSIONS, action_statistics

    source = open_dataset(dataset)
    with progress_bar("reading actions") as progress:
        statistics = action_statistics(source, progress)
    short = {"window": statistics.shorter_than(window), "chunk": statistics.shorter_than(chunk)}
    degenerate = [DIMENSIONS[index] for index in statistics.degenerate]
    console = Console(stderr=as_json)
    if as_json:
        columns = ("q01", "q99", "mean", "std", "min", "max")
        numbers = {column: getattr(statistics, column).tolist() for column in columns}
        report = {"dimensions": DIMENSIONS, **numbers, "degenerate": degenerate, "episodes_shorter_than": short}
        typer.echo(json.dumps(report, indent=2))
    else:
        console.print(statistics_table(statistics))
        _print_remarks(console, statistics, degenerate, window, chunk)
    if robot_profile is not None:
        _write_profile(robot_profile, name or robot_profile.stem, source, statistics, smallest_range)
        console.print(
            f"wrote {robot_profile}: set its limits and workspace before it moves an arm", soft_wrap=True
        )


def _print_remarks(
    console: Console, statistics: ActionStatistics, degenerate: list[str], window: int, chunk: int
) -> None:
    if degenerate:
        console.print(f"[red]did not move:[/red] {', '.join(degenerate)} (q01 = q99)")
    count = len(statistics.lengths)
    if short := statistics.shorter_than(window):
        console.print(f"{short} of {count} episodes are shorter than the window of {window} steps")
    if short := statistics.shorter_than(chunk):
        console.print(f"{short} of {count} episodes are shorter than the chunk of {chunk} steps")


def _write_profile(
    path: Path, name: str, source: FolderSource, statistics: ActionStatistics, smallest_range: float
) -> None:
    from robovlms_ros.data.statistics import quantiles_for_profile
    from robovlms_ros.policy.profile_from_data import profile_from_data

    durations = {round(row.step_duration, 6) for row in source.rows}
    if max(durations) > 1.01 * min(durations):
        raise ModelError(
            f"the episodes were recorded at periods from {min(durations):g} to {max(durations):g} s; a robot has "
            "one: select those of one period with 'robovlms data convert --episodes'"
        )
    q01, q99 = quantiles_for_profile(statistics, smallest_range)
    text = profile_from_data(
        name,
        q01,
        q99,
        frame=source.frame,
        rotation_format=source.rotation_format,
        step_duration=source.info.step_duration,
        dataset=source.name,
        episodes=len(source),
        steps=int(statistics.lengths.sum()),
    )
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ModelError(f"{path} cannot be written: {error}") from error


@app.command()
def show(
    dataset: Dataset,
    episode: Annotated[int, typer.Argument(help="Its number, from 0; -1 is the last.")] = 0,
    out: Annotated[Path, typer.Option(help="The picture: .png for a sheet, .gif for an animation.")] = Path(
        "episode.png"
    ),
    frames: Annotated[int, typer.Option(help="Steps on a sheet.", min=1)] = 12,
    columns: Annotated[int, typer.Option(help="Of a sheet.", min=1)] = 4,
    height: Annotated[int, typer.Option(help="Of one image, in pixels.", min=16)] = 160,
) -> None:
    """Write a picture of an episode: its frames, the action of each, and the gripper as a bar (full = open).

    Example:

        robovlms data show datasets/kitchen 3 --out episode.gif
    """
    from robovlms_ros.data.contact_sheet import animation, contact_sheet
    from robovlms_ros.data.folder.reader import open_dataset
    from robovlms_ros.data.selection import numbers_of

    source = open_dataset(dataset)
    shown = source[numbers_of(str(episode), len(source))[0]]
    if out.suffix == ".gif":
        picture = animation(shown, height=height)
    elif out.suffix == ".png":
        picture = contact_sheet(shown, frames=frames, columns=columns, height=height)
    else:
        raise ModelError(f"--out is {out}; give it the ending .png or .gif")
    try:
        out.write_bytes(picture)
    except OSError as error:
        raise ModelError(f"{out} cannot be written: {error}") from error
    Console().print(f"{out}: {shown.instruction!r}", highlight=False, soft_wrap=True)


@app.command("convert")
def convert_command(
    datasets: Annotated[list[Path], typer.Argument(help="Dataset folders; several are joined.")],
    out: Annotated[Path, typer.Option(help="The dataset folder to make.")],
    episodes: Annotated[str, typer.Option(help="Some of them only: 0:90, -10:, ::2, or 3,5,8.")] = ":",
    camera: Annotated[list[str], typer.Option(help="Keep this camera only; may be repeated.")] = [],  # noqa: B006
    encoding: Encoding = "jpeg",
    quality: Quality = 95,
    resize: Resize = 0,
    reencode: Annotated[
        bool, typer.Option("--reencode", help="Encode all images anew, not only resized ones.")
    ] = False,
) -> None:
    """Join, select, resize or re-encode datasets into a new one.

    Repeat the command to continue where an interrupted one ended.

    Examples:

        robovlms data convert datasets/kitchen --episodes 0:-10 --resize 224 --out datasets/train

        robovlms data convert datasets/kitchen --episodes -10: --resize 224 --out datasets/held_out
    """
    from robovlms_ros.cli.data_tables import print_imported, progress_bar, resumable
    from robovlms_ros.data.convert import convert
    from robovlms_ros.data.folder.format import Origin
    from robovlms_ros.data.folder.reader import open_dataset
    from robovlms_ros.data.selection import Joined, Selected, numbers_of

    joined = Joined(out.name or "dataset", [open_dataset(dataset) for dataset in datasets])
    chosen = Selected(joined, numbers_of(episodes, len(joined)))
    options: dict[str, Any] = {"episodes": episodes, "cameras": camera}
    origin = Origin(importer="convert", path=", ".join(map(str, datasets)), options=options)
    images = image_format(encoding, quality, resize, keep_recorded=not reencode)
    with resumable(), progress_bar("converting") as progress:
        made = convert(chosen, out, origin, images=images, cameras=camera or None, progress=progress)
    print_imported(Console(), out, made)
