"""``robovlms parity``: how far this implementation is from upstream's numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def parity(
    golden: Annotated[Path, typer.Option(help="Folder with the test vectors.")] = Path("test/golden"),
    write: Annotated[Path | None, typer.Option(help="Document whose table is to be replaced.")] = None,
) -> None:
    """Run every test vector that upstream computed and print the largest difference of each case.

    Runs in half a minute on a CPU. The exit status is 1 if a difference is larger than it may be.

    Example:

        robovlms parity --golden test/golden --write docs/parity.md
    """
    from robovlms_ros.parity.golden import GoldenFolder
    from robovlms_ros.parity.report import compare_all, table, write_table

    console = Console(stderr=True)
    with console.status("loading") as status:
        rows = list(compare_all(GoldenFolder(golden), status.update))
    content = table(rows)
    if write is not None:
        write_table(write, content)
    typer.echo(content)
    if not all(row.passed for row in rows):
        raise typer.Exit(1)
