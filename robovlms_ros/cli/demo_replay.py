"""`robovlms demo-replay`: real camera frames through both nodes over DDS, on a model that anyone can make."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

if TYPE_CHECKING:
    from robovlms_ros.replay.live_run import LiveRun

IMAGE_TOPIC = "/camera/image_raw"
INSTRUCTION_TOPIC = "/instruction"


def demo_replay(
    footage: Annotated[
        Path | None,
        typer.Option(help="An animated image (webp, gif) or a folder of images. Default: a photograph, panned."),
    ] = None,
    instruction: Annotated[str, typer.Option(help="What the robot is told.")] = "pick up the red block",
    rate: Annotated[float, typer.Option(help="Images per second in the bag.", min=0.1, max=100.0)] = 10.0,
    out: Annotated[Path, typer.Option(help="Folder for the bag and the model; replaced.")] = Path("demo_out"),
) -> None:
    """Replay camera frames through vla_node and action_history_node and show the actions that come out.

    Makes a rosbag2 bag of the frames and a small Kosmos-2 with RANDOM weights (its actions mean nothing), starts
    both nodes as processes of their own on a private ROS domain, and plays the bag to them at its own rate.
    Exits with 1 if an image that should have given an action did not.

    Example: robovlms demo-replay --footage my_camera/ --instruction "open the drawer"
    """
    from robovlms_ros.cli.untrained import untrained
    from robovlms_ros.replay.bag import BagError, open_bag, write_camera_bag
    from robovlms_ros.replay.footage import FootageError, load_footage
    from robovlms_ros.replay.live_run import LiveRunError, run_live

    console = Console()
    try:
        source = load_footage(footage)
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        console.print(f"images: {len(source.frames)} frames of {source.source}", highlight=False, soft_wrap=True)
        write_camera_bag(
            out / "bag",
            source.frames,
            instruction,
            rate=rate,
            image_topic=IMAGE_TOPIC,
            instruction_topic=INSTRUCTION_TOPIC,
        )
        with console.status("making a small Kosmos-2 with random weights and an action encoder"):
            untrained(out / "model", action_encoder=True)
        with open_bag(out / "bag") as bag, _progress(console) as progress:
            task = progress.add_task("starting the nodes", total=len(source.frames))

            def on_image() -> None:
                progress.update(task, description="replaying the bag", advance=1)

            run = run_live(
                bag,
                out / "model",
                image_topic=IMAGE_TOPIC,
                instruction_topic=INSTRUCTION_TOPIC,
                on_image=on_image,
            )
    except (BagError, FootageError, LiveRunError) as error:
        console.print(f"[red]demo:[/] {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
    console.print(_action_table(run))
    console.print(_summary(run), highlight=False)
    if run.unanswered:
        console.print(f"[red]demo: no action for image {', '.join(map(str, run.unanswered))}[/]")
        raise typer.Exit(1)


def _progress(console: Console) -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    return Progress(*columns, console=console, transient=True)


def _action_table(run: LiveRun) -> Table:
    table = Table(title="actions received", caption="translation in mm, rotation in degrees")
    for column in ("image", "x", "y", "z", "rx", "ry", "rz", "gripper", "latency ms"):
        table.add_column(column, justify="right")
    index = {stamp: i for i, stamp in enumerate(run.image_stamps_ns)}
    for action in run.actions:
        message = action.message
        translation = (message.translation.x, message.translation.y, message.translation.z)
        rotation = (message.rotation.x, message.rotation.y, message.rotation.z)
        table.add_row(
            str(index.get(action.stamp_ns, "-")),
            *(f"{value * 1000:+.1f}" for value in translation),
            *(f"{value * 57.29578:+.1f}" for value in rotation),
            "closed" if message.gripper_closed else "open",
            f"{action.latency * 1000:.1f}",
        )
    return table


def _summary(run: LiveRun) -> str:
    import numpy as np

    counts = f"demo: {len(run.image_stamps_ns)} images -> {len(run.actions)} actions"
    if not run.actions:
        return counts
    p50, p99 = np.percentile([action.latency * 1000 for action in run.actions], [50, 99])
    rows = max((int(sum(message.valid)) for message in run.histories), default=0)
    return (
        f"history: {len(run.histories)} windows fed back, the last with {rows} executed actions\n"
        f"{counts}, latency p50 {p50:.1f} ms p99 {p99:.1f} ms"
    )
