"""``robovlms sim``: the simulated tabletop, its expert, and episodes of it."""

from __future__ import annotations

from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from robovlms_ros.sim.expert import Noise
    from robovlms_ros.sim.tasks import Family

app = typer.Typer(
    help="The simulated tabletop: try its expert, record its episodes.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


class Families(str, Enum):
    """Kinds of tasks."""

    pick = "pick"
    stack = "stack"
    both = "both"


class Wordings(str, Enum):
    """Sets of sentences."""

    canonical = "canonical"
    train = "train"
    held_out = "held_out"


class Encodings(str, Enum):
    """Kinds of image files."""

    png = "png"
    jpeg = "jpeg"


FamilyOption = Annotated[Families, typer.Option(help="Kind of tasks.")]
NoiseShare = Annotated[
    float, typer.Option("--noise", min=0, max=1, help="Share of steps that are disturbed when executed.")
]
NoiseScale = Annotated[float, typer.Option(min=0, max=2, help="Size of a disturbance, in limits of an action.")]


@app.command()
def expert(
    family: FamilyOption = Families.both,
    seeds: Annotated[int, typer.Option(min=1, help="Episodes of each kind.")] = 100,
    first_seed: Annotated[int, typer.Option(min=0, help="The seed of the first one.")] = 0,
    noise: NoiseShare = 0.0,
    noise_scale: NoiseScale = 0.3,
) -> None:
    """Count how often the scripted expert succeeds, and in how many steps.

    Example:

        robovlms sim expert --seeds 500
    """
    import numpy as np

    from robovlms_ros.sim.measure import measure_expert

    console = Console()
    for name in _families(family):
        with _progress(console) as progress:
            advance = partial(progress.advance, progress.add_task(name, total=seeds))
            chosen = range(first_seed, first_seed + seeds)
            figures = measure_expert(name, chosen, _noise(noise, noise_scale), advance)
        steps = figures.steps or [0]
        line = f"{name}: {len(figures.steps)}/{figures.episodes}, steps mean {np.mean(steps):.1f} max {max(steps)}"
        if figures.failed:
            line += f"; failed seeds {', '.join(map(str, figures.failed))}"
        console.print(line, highlight=False, soft_wrap=True)


@app.command()
def record(
    out: Annotated[Path, typer.Argument(help="The dataset folder to make, or to continue.")],
    episodes: Annotated[int, typer.Option(min=1, help="How many.")] = 400,
    family: FamilyOption = Families.pick,
    size: Annotated[int, typer.Option(min=8, max=640, help="Side of the images in pixels.")] = 96,
    noise: NoiseShare = 0.35,
    noise_scale: NoiseScale = 0.3,
    wording: Annotated[Wordings, typer.Option(help="Sentences of the instructions.")] = Wordings.train,
    randomize: Annotated[bool, typer.Option(help="Whether the looks change from episode to episode.")] = False,
    first_seed: Annotated[
        int | None, typer.Option(min=0, help="Of the first episode. Default: 1000000; less is for evaluation.")
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(help="A packed model that drives; the expert says what it should have done."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that record.")] = 2,
    encoding: Annotated[
        Encodings, typer.Option(help="How images are stored: png, which keeps every pixel, or jpeg.")
    ] = Encodings.png,
) -> None:
    """Record episodes of the expert as a dataset folder, to train on. Interrupted, the same command goes on.

    Its actions are what the expert wanted; with noise, what was executed differs from them, so that a policy sees
    how to recover.

    Example:

        robovlms sim record datasets/pick --episodes 400 --family pick

        robovlms sim record datasets/corrections --policy models/tabletop --first-seed 2000000
    """
    from robovlms_ros.sim.errors import SimulatorError
    from robovlms_ros.sim.randomization import Randomization

    try:
        from robovlms_ros.data.folder.format import ImageFormat
        from robovlms_ros.sim.recording import FIRST_TRAINING_SEED, RecordingPlan
        from robovlms_ros.sim.recording import record as record_plan
    except ModuleNotFoundError as error:
        raise SimulatorError(
            f"recording needs {error.name}, which is not installed: pip install 'robovlms_ros[sim,data]'"
        ) from error

    console = Console()
    plan = RecordingPlan(
        episodes=episodes,
        families=tuple(_families(family)),
        image_size=size,
        wording=wording.value,
        noise=_noise(noise, noise_scale),
        randomization=Randomization() if randomize else None,
        first_seed=FIRST_TRAINING_SEED if first_seed is None else first_seed,
        policy=None if policy is None else str(policy),
    )
    with _progress(console) as progress:
        task = progress.add_task("recording", total=episodes)
        info = record_plan(
            plan,
            out,
            ImageFormat(encoding=encoding.value),
            workers,
            lambda done, total: progress.update(task, completed=done),
        )
    console.print(f"{out}: {info.episodes} episodes, {info.steps} steps", highlight=False, soft_wrap=True)


@app.command()
def animate(
    out: Annotated[Path, typer.Argument(help="The GIF to make.")],
    family: FamilyOption = Families.pick,
    seed: Annotated[int, typer.Option(min=0, help="Of the first episode.")] = 0,
    episodes: Annotated[int, typer.Option(min=1, help="How many, one after the other.")] = 1,
    size: Annotated[int, typer.Option(min=8, max=640, help="Side of the images in pixels.")] = 96,
    wording: Annotated[Wordings, typer.Option(help="Sentences of the instructions.")] = Wordings.canonical,
    randomize: Annotated[bool, typer.Option(help="Whether the looks change from episode to episode.")] = False,
) -> None:
    """Show the expert at work: both cameras side by side, as an animation.

    Example:

        robovlms sim animate expert.gif --family stack --size 224
    """
    from robovlms_ros.sim.animation import PANEL_SIZE, film, write_gif
    from robovlms_ros.sim.environment import TabletopEnvironment
    from robovlms_ros.sim.randomization import Randomization

    families = _families(family)
    frames = []
    randomization = Randomization() if randomize else None
    with TabletopEnvironment(families[0], size, wording.value, randomization) as environment:
        for number in range(episodes):
            environment.family = families[number % len(families)]
            # Whole multiples: every pixel stays a square.
            frames += film(environment, seed + number, size * max(1, PANEL_SIZE // size))
    write_gif(out, frames)
    Console().print(f"{out}: {len(frames)} frames", highlight=False, soft_wrap=True)


@app.command()
def speed(
    sizes: Annotated[
        list[int] | None, typer.Argument(help="Sides of images in pixels. Default: 64 96 128 224.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long to measure each.")] = 3.0,
) -> None:
    """Measure control steps per second, without images and with both cameras.

    Example:

        robovlms sim speed 96 224
    """
    from robovlms_ros.sim.measure import measure_speed
    from robovlms_ros.sim.rendering import find_backend

    console = Console()
    for size in (None, *(sizes or (64, 96, 128, 224))):
        found = measure_speed(size, seconds)
        what = "without images" if size is None else f"{size} px with {find_backend()}"
        line = f"{what}: {found.steps_per_second:.0f} steps/s, {found.cpu_ms_per_step:.1f} ms of CPU each"
        console.print(line, highlight=False)


def _families(family: Families) -> list[Family]:
    return ["pick", "stack"] if family is Families.both else [family.value]


def _noise(share: float, scale: float) -> Noise | None:
    from robovlms_ros.sim.expert import Noise

    return Noise(share, scale) if share > 0 and scale > 0 else None


def _progress(console: Console) -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=console, transient=True)
