"""``robovlms evaluate``: a packed model against recordings, or in a benchmark's simulation."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, track
from rich.table import Table

if TYPE_CHECKING:
    from robovlms_ros.evaluation.offline import Summary
    from robovlms_ros.policy.vla_policy import VLAPolicy

evaluate = typer.Typer(
    help="Measure a packed model: on recordings, or in the CALVIN and SimplerEnv benchmarks.", no_args_is_help=True
)

Model = Annotated[Path, typer.Argument(help="A folder made by 'robovlms pack'.")]
PolicyHead = Annotated[str, typer.Option(help="One of its policy heads; empty for the model's own.")]
Device = Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16 or float16.")]
Execute = Annotated[int, typer.Option(min=1, help="Actions executed of each predicted chunk.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the numbers to this file, too.")]


class Kinds(str, Enum):
    """Kinds of tasks on the tabletop."""

    pick = "pick"
    stack = "stack"


class Sentences(str, Enum):
    """Sets of sentences."""

    canonical = "canonical"
    train = "train"
    held_out = "held_out"


class Telling(str, Enum):
    """What the model is told."""

    own = "its task"
    another = "another task"
    no_colour = "no colour"


class Shown(str, Enum):
    """What the model is shown of its actions."""

    on = "on"
    off = "off"
    shuffled = "shuffled"


Workers = Annotated[int, typer.Option(min=1, help="Processes that run episodes.")]
FirstSeed = Annotated[
    int,
    typer.Option(min=0, max=999_999, help="The seed of the first one; from 1000000 on they were trained on."),
]


@evaluate.command()
def offline(
    model: Model,
    dataset: Annotated[Path, typer.Argument(help="A dataset folder, as 'robovlms data' makes them.")],
    report: Annotated[Path | None, typer.Option(help="Write an HTML report with plots to this file.")] = None,
    episodes: Annotated[int, typer.Option(min=0, help="Evaluate the last so many episodes; 0 = all.")] = 0,
    policy_head: PolicyHead = "",
    device: Device = "cpu",
    dtype: Dtype = "float32",
    json_file: JsonFile = None,
) -> None:
    """Compare every predicted action chunk with what was recorded: errors per dimension and per row of the chunk.

    The model sees each episode step by step as it would on the robot. Give it episodes that it was not trained on.

    Example:

        robovlms evaluate offline my_model held_out --report report.html
    """
    from robovlms_ros.data.folder.reader import FolderSource
    from robovlms_ros.evaluation.offline import compare, summarize
    from robovlms_ros.evaluation.report import as_json, write_html

    source = FolderSource(dataset)
    policy = _load(model, policy_head, device, dtype)
    indices = range(len(source))[-episodes:] if episodes else range(len(source))
    dropped: list[str] = []
    found = list(_tracked(compare(policy, source, indices, dropped.append), "episodes", len(indices)))
    summary = summarize(found)
    _print_summary(summary, dropped)
    facts = {
        "model": policy.card["model_id"],
        "dataset": f"{source.name}, {summary.episodes} episodes, {summary.steps} steps",
        "left out": "; ".join(dropped) or "nothing",
    }
    if report:
        write_html(report, f"Offline evaluation of {model.name}", facts, summary, found)
        typer.echo(f"report: {report}")
    _write_json(json_file, {**facts, **as_json(summary)})


@evaluate.command()
def calvin(
    model: Model,
    dataset: Annotated[Path, typer.Option(help="CALVIN's dataset, such as task_ABCD_D.")],
    calvin_models: Annotated[Path, typer.Option(help="The folder calvin_models of CALVIN's repository.")],
    sequences: Annotated[Path, typer.Option(help="RoboVLMs' configs/data/calvin/eval_sequences.json.")],
    count: Annotated[int, typer.Option(min=1, help="Sequences to run.")] = 1000,
    execute: Execute = 1,
    policy_head: PolicyHead = "",
    device: Device = "cuda",
    dtype: Dtype = "float32",
    json_file: JsonFile = None,
) -> None:
    """Run CALVIN's long-horizon benchmark: five instructions in a row, 360 steps each.

    Needs CALVIN (https://github.com/mees/calvin) in the same Python environment.

    Example:

        robovlms evaluate calvin my_model --dataset task_ABCD_D --calvin-models ~/calvin/calvin_models
        --sequences eval_sequences.json
    """
    from robovlms_ros.evaluation.calvin import chain_rates, make_environment, read_sequences, run_sequences

    chosen = read_sequences(sequences)[:count]
    environment = make_environment(dataset, calvin_models)
    session = _load(model, policy_head, device, dtype).session(execute)
    done = list(_tracked(run_sequences(session, environment, chosen), "sequences", len(chosen)))
    rates = chain_rates(done)
    table = Table(title=f"CALVIN, {len(done)} sequences", title_justify="left")
    for length in range(1, len(rates) + 1):
        table.add_column(f"{length} in a row", justify="right")
    table.add_column("mean length", justify="right")
    table.add_row(*(f"{rate:.1%}" for rate in rates), f"{sum(rates):.2f}")
    Console().print(table)
    _write_json(json_file, {"sequences": len(done), "rates": rates, "mean_length": sum(rates), "done": done})


@evaluate.command()
def simpler(
    model: Model,
    task: Annotated[str, typer.Argument(help="A task of SimplerEnv, such as widowx_spoon_on_towel.")],
    episodes: Annotated[int, typer.Option(min=1, help="Object layouts to try.")] = 24,
    execute: Execute = 1,
    policy_head: PolicyHead = "",
    device: Device = "cuda",
    dtype: Dtype = "float32",
    json_file: JsonFile = None,
) -> None:
    """Run a task of SimplerEnv with a model packed for widowx_bridge or google_robot.

    Needs SimplerEnv (https://github.com/simpler-env/SimplerEnv) in the same Python environment.

    Example:

        robovlms evaluate simpler my_model widowx_spoon_on_towel
    """
    from robovlms_ros.evaluation.environment import SuccessRate, run_seed
    from robovlms_ros.evaluation.simpler import MAX_STEPS, commander, make_environment

    policy = _load(model, policy_head, device, dtype)
    command = commander(policy.profile.name)
    environment = make_environment(task)
    session = policy.session(execute)
    found = [
        run_seed(session, environment, command, seed, MAX_STEPS[policy.profile.name])
        for seed in track(range(episodes), "episodes", console=Console(stderr=True))
    ]
    rate = SuccessRate.of(found)
    typer.echo(f"{task}: success {rate}")
    _write_json(json_file, {"task": task, "success": rate.rate, "episodes": [asdict(each) for each in found]})


@evaluate.command()
def tabletop(
    model: Model,
    family: Annotated[Kinds, typer.Option(help="Kind of tasks.")] = Kinds.pick,
    seeds: Annotated[int, typer.Option(min=1, help="Episodes to run.")] = 100,
    first_seed: FirstSeed = 0,
    execute: Execute = 1,
    delay: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds of an inference, while which the arm acts on. Default: it waits."),
    ] = None,
    wording: Annotated[Sentences, typer.Option(help="Sentences of the instructions.")] = Sentences.canonical,
    told: Annotated[Telling, typer.Option(help="What the model is told.")] = Telling.own,
    history: Annotated[Shown, typer.Option(help="What it is shown of its actions.")] = Shown.on,
    policy_head: PolicyHead = "",
    workers: Workers = 2,
    json_file: JsonFile = None,
) -> None:
    """Run a model on the simulated tabletop, by the way that its actions take through the nodes.

    Examples:

        robovlms evaluate tabletop models/tabletop

        robovlms evaluate tabletop models/tabletop --family stack --execute 3 --wording held_out

        robovlms evaluate tabletop models/tabletop --told "another task"
    """
    from robovlms_ros.evaluation.tabletop import Condition, Row, runner_of
    from robovlms_ros.evaluation.tabletop import Model as TabletopModel

    condition = Condition(
        family=family.value,
        execute=execute,
        delay=delay,
        wording=wording.value,
        told=told.value,
        history=history.value,
    )
    with runner_of(TabletopModel(model, policy_head), workers) as run:
        chosen = range(first_seed, first_seed + seeds)
        row = Row(family.value, condition, list(_tracked(run(condition, chosen), "episodes", seeds)))
    failed = [outcome.seed for outcome in row.outcomes if not outcome.succeeded]
    typer.echo(f"{family.value}: success {row.success}, {row.steps:.1f} steps, model {1e3 * row.latency:.1f} ms")
    if failed:
        typer.echo(f"failed seeds: {', '.join(map(str, failed))}")
    _write_json(
        json_file,
        {
            "condition": asdict(condition),
            "success": row.success.rate,
            "episodes": [asdict(o) for o in row.outcomes],
        },
    )


@evaluate.command("tabletop-table")
def tabletop_table(
    model: Model,
    also: Annotated[
        list[str],
        typer.Option("--head", metavar="NAME=FOLDER", help="Another head's model, for its row; may be repeated."),
    ] = [],  # noqa: B006  typer copies it
    seeds: Annotated[int, typer.Option(min=1, help="Episodes of each row.")] = 100,
    first_seed: FirstSeed = 0,
    write: Annotated[
        Path | None, typer.Option(help="Put the table into this Markdown file, between its marks.")
    ] = None,
    workers: Workers = 2,
    json_file: JsonFile = None,
) -> None:
    """All rows of the table in docs/tabletop.md: chunks, delays, controls, histories, sentences, heads.

    Example:

        robovlms evaluate tabletop-table models/tabletop --write docs/tabletop.md
    """
    from robovlms_ros.evaluation.tabletop import Model as TabletopModel
    from robovlms_ros.evaluation.tabletop_table import as_markdown, put_table, table_rows

    named = dict(_named_folder(pair) for pair in also)
    chosen = range(first_seed, first_seed + seeds)
    with Progress(*Progress.get_default_columns(), console=Console(stderr=True)) as progress:
        task = progress.add_task("rows", total=None)

        def tell(title: str, done: int, total: int) -> None:
            progress.update(task, description=title, completed=done, total=total)

        heads = {name: TabletopModel(folder) for name, folder in named.items()}
        rows = table_rows(TabletopModel(model), heads, chosen, workers, tell)
    text = as_markdown(rows)
    if write:
        put_table(write, text)
    typer.echo(text)
    _write_json(json_file, {row.name: [asdict(outcome) for outcome in row.outcomes] for row in rows})


def _named_folder(pair: str) -> tuple[str, Path]:
    name, equals, folder = pair.partition("=")
    if not equals or not name or not folder:
        raise typer.BadParameter(f"{pair!r} is no NAME=FOLDER", param_hint="--head")
    return name, Path(folder)


def _load(model: Path, policy_head: str, device: str, dtype: str) -> VLAPolicy:
    from robovlms_ros.policy.vla_policy import VLAPolicy

    return VLAPolicy.load(model, policy_head, device=device, dtype=dtype)


def _tracked(work: Iterable[Any], what: str, total: int) -> Iterable[Any]:
    return track(work, what, total=total, console=Console(stderr=True))


def _write_json(path: Path | None, content: dict[str, Any]) -> None:
    if path:
        path.write_text(json.dumps(content, indent=2), encoding="utf-8")


def _print_summary(summary: Summary, dropped: list[str]) -> None:
    from robovlms_ros.evaluation.offline import DIMENSIONS

    table = Table(title=f"{summary.episodes} episodes, {summary.steps} steps", title_justify="left")
    for heading in ("dimension", "mean error", "95 % below", "never moving", "of it"):
        table.add_column(heading, justify="left" if heading == "dimension" else "right")
    for i, name in enumerate(DIMENSIONS):
        unit = "mm" if i < 3 else "mrad"
        mean, high, still = (v[i] * 1e3 for v in (summary.mean_error, summary.p95_error, summary.still_error))
        share = f"{mean / still:.0%}" if still else "-"
        table.add_row(name, f"{mean:.2f} {unit}", f"{high:.2f} {unit}", f"{still:.2f} {unit}", share)
    table.add_row("gripper", f"{summary.gripper_accuracy:.1%} right", "", "", "")
    console = Console()
    console.print(table)
    for reason in dropped:
        console.print(f"left out: {reason}", style="yellow", highlight=False, soft_wrap=True)
