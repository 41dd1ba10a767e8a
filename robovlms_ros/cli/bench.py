"""``robovlms bench``: what the package costs on this machine, measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table as RichTable

if TYPE_CHECKING:
    from robovlms_ros.bench.table import Section, Table


class Scale(str, Enum):
    """Sizes of generated models."""

    tiny = "tiny"
    quarter = "quarter"
    full = "full"


def bench(
    parts: Annotated[list[str] | None, typer.Argument(help="What to measure; see --list. Default: all.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Few repetitions and a tiny model: to try it.")] = False,
    scale: Annotated[
        Scale | None,
        typer.Option(help="Width of generated models: tiny, quarter, or full (8 GB of memory, an hour on a CPU)."),
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Measure the stages of this packed model.")] = None,
    device: Annotated[str, typer.Option(help="Of the stages: cpu, cuda or cuda:N.")] = "cpu",
    threads: Annotated[int, typer.Option(min=0, help="Of the stages on a CPU; 0 = as torch chooses.")] = 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all numbers to this file, too.")] = None,
    write: Annotated[
        Path | None, typer.Option(help="Write the tables into this Markdown file; its prose and other parts stay.")
    ] = None,
    list_parts: Annotated[bool, typer.Option("--list", help="Show the parts and which can run here.")] = False,
) -> None:
    """Measure this package on this machine: stages, speed-ups, chunk modes, the node, memory, training, a GPU.

    Models are Kosmos-2 with random weights unless you name yours. What cannot run here says why and is skipped.
    Exits with 1 where results that must be equal differ, or a target is missed. The latter may be the fault of a
    busy machine, so the tables say how busy it was.

    Examples:

        robovlms bench --quick

        robovlms bench stages --model my_model --device cuda

        robovlms bench --json today.json --write performance.md
    """
    from robovlms_ros.bench.machine import in_words, machine
    from robovlms_ros.bench.parts import PARTS, Settings, chosen, run_part

    console, errors = Console(), Console(stderr=True)
    if list_parts:
        console.print(_overview())
        return
    settings = Settings(quick, scale.value if scale else None, model, device, threads)
    names, facts = chosen(parts or []), machine()
    console.print(in_words(facts), highlight=False, soft_wrap=True)
    sections: dict[str, Section] = {}
    _save(json_file, write, sections, facts, settings)  # what cannot be written is known now, not in an hour
    for name in names:
        with errors.status(PARTS[name].title) as status:
            section = run_part(name, settings, _reporter(status, PARTS[name].title))
        sections[name] = section
        _show(console, name, section)
        _save(json_file, write, sections, facts, settings)
    problems = [problem for section in sections.values() for problem in section.problems]
    for problem in problems:
        errors.print(f"[red]problem:[/red] {escape(problem)}", highlight=False, soft_wrap=True)
    for path in (json_file, write):
        if path:
            console.print(f"written: {path}", highlight=False, soft_wrap=True)
    if problems:
        raise typer.Exit(1)


def _reporter(status: Status, title: str) -> Callable[[str], None]:
    return lambda what: status.update(f"{title}: {escape(what)}")


def _save(
    json_file: Path | None, write: Path | None, sections: dict[str, Section], facts: dict[str, str], settings: Any
) -> None:
    """Keep what there is after every part: the next may take an hour."""
    from robovlms_ros.bench.document import write_document

    if json_file:
        parts = {name: section.as_json() for name, section in sections.items()}
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(
            json.dumps({"format": 1, "machine": facts, "parts": parts}, indent=2), encoding="utf-8"
        )
    if write:
        options = (" --quick" if settings.quick else "") + (f" --scale {settings.scale}" if settings.scale else "")
        write_document(write, sections, facts, f"robovlms bench{options}")


def _overview() -> RichTable:
    from robovlms_ros.bench.parts import PARTS

    table = RichTable("part", "measures", "here")
    for name, part in PARTS.items():
        reason = part.why_not()
        table.add_row(name, part.summary, f"no: {escape(reason)}" if reason else "yes")
    return table


def _show(console: Console, name: str, section: Section) -> None:
    if section.skipped:
        console.print(f"[yellow]{name}: skipped:[/] {escape(section.skipped)}", highlight=False, soft_wrap=True)
    for table in section.tables:
        console.print(_rich(table))
        for note in table.notes:
            console.print(escape(_plain(note)), style="dim", highlight=False)
    if section.tables:
        console.print(
            f"{name}: {section.seconds:.0f} s; other processes kept {section.others:.1f} cores busy\n",
            highlight=False,
        )


def _rich(table: Table) -> RichTable:
    from robovlms_ros.bench.table import shown

    found = RichTable(title=escape(_plain(table.title)), title_justify="left")
    for column, number in zip(table.columns, table.numbers, strict=True):
        found.add_column(column, justify="right" if number else "left")
    for row in table.rows:
        found.add_row(*(escape(_plain(shown(cell))) for cell in row))
    return found


def _plain(text: str) -> str:
    """Without the marks of Markdown."""
    return text.replace("*", "").replace("`", "")
