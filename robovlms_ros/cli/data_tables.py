"""Tables about datasets, and the progress bar of imports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from robovlms_ros.data.folder.format import DatasetInfo
    from robovlms_ros.data.folder.reader import FolderSource
    from robovlms_ros.data.report import DropGroup
    from robovlms_ros.data.statistics import ActionStatistics

# Instructions and places of drops that are shown.
SHOWN_INSTRUCTIONS, SHOWN_PLACES = 15, 3


@contextmanager
def progress_bar(description: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr; yields what is to be called with what is done and what there is."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(description, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def resumable() -> Iterator[None]:
    """Around an import: Ctrl-C ends it with a word on how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        message = "stopped: complete episodes are kept, repeat the command to go on"
        Console(stderr=True).print(message, highlight=False)
        raise typer.Exit(130) from None


def print_imported(console: Console, folder: Path, info: DatasetInfo) -> None:
    """What an import made, and what it dropped."""
    if info.dropped:
        console.print(dropped_table(info.dropped))
    cameras = ", ".join(info.cameras) or "none"
    console.print(
        f"{folder}: {info.episodes:,} episodes, {info.steps:,} steps, cameras {cameras}; "
        f"see it with: robovlms data show {folder}",
        highlight=False,
        soft_wrap=True,
    )


def dropped_table(groups: tuple[DropGroup, ...]) -> Table:
    """What was left out and why."""
    table = Table(title="left out", title_justify="left")
    table.add_column("reason", overflow="fold")
    table.add_column("count", justify="right")
    table.add_column("where", overflow="fold")
    for group in groups:
        places = "\n".join(group.examples[:SHOWN_PLACES])
        more = "" if len(group.examples) <= SHOWN_PLACES else "\n..."
        table.add_row(group.reason, f"{group.count:,} {group.unit}{'s' * (group.count != 1)}", places + more)
    return table


def info_table(source: FolderSource, report: dict[str, object]) -> Table:
    """What a dataset is."""
    table = Table(title=str(source.folder), title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in report.items():
        table.add_row(key.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
    return table


def instruction_table(source: FolderSource) -> Table:
    """The most frequent instructions."""
    counts = Counter(row.instruction for row in source.rows)
    table = Table(title=f"instructions ({len(counts)})", title_justify="left")
    table.add_column("episodes", justify="right")
    table.add_column("instruction", overflow="fold")
    for instruction, count in counts.most_common(SHOWN_INSTRUCTIONS):
        table.add_row(str(count), instruction)
    if len(counts) > SHOWN_INSTRUCTIONS:
        table.add_row("", f"... and {len(counts) - SHOWN_INSTRUCTIONS} more")
    return table


def statistics_table(statistics: ActionStatistics) -> Table:
    """One row per dimension."""
    from robovlms_ros.data.statistics import DIMENSIONS

    columns = ("q01", "q99", "mean", "std", "min", "max")
    table = Table(title="actions", title_justify="left", caption="metres, radians, gripper opening")
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    for index, dimension in enumerate(DIMENSIONS):
        numbers = [f"{getattr(statistics, name)[index]:+.5f}" for name in columns]
        table.add_row(dimension, *numbers, style="red" if index in statistics.degenerate else None)
    return table
