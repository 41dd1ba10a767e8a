"""All cases of a folder of test vectors as one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from robovlms_ros.model.errors import ModelError
from robovlms_ros.parity.comparison import Comparison
from robovlms_ros.parity.full_size import compare_full_size
from robovlms_ros.parity.functions import compare_functions, compare_prompts
from robovlms_ros.parity.golden import GoldenFolder
from robovlms_ros.parity.models import compare_model
from robovlms_ros.parity.wrappers import compare_wrapper

BEGIN, END = "<!-- parity table -->", "<!-- end of the parity table -->"


def compare_all(golden: GoldenFolder, progress: Callable[[str], None] = lambda case: None) -> Iterator[Comparison]:
    """Every case of the folder; ``progress`` is told each one's name beforehand."""
    for case in golden.models:
        progress(case)
        yield compare_model(golden, case)
    for case in golden.wrappers:
        progress(case)
        yield compare_wrapper(golden, case)
    progress("functions")
    yield from compare_functions(golden)
    yield compare_prompts(golden)
    yield compare_full_size(golden)


def table(rows: list[Comparison]) -> str:
    """Markdown."""
    lines = ["| case | largest difference | allowed | compared |", "|---|---|---|---|"]
    for row in rows:
        if row.not_run:
            lines.append(f"| `{row.case}` | - | - | not run: {row.not_run} |")
            continue
        difference = f"{row.largest:.1e}" if row.allowed else "exact"
        allowed = f"{row.allowed:.1e}" if row.allowed else "exact"
        failed = f" **DIFFERS: {', '.join(row.failed)}**" if row.failed else ""
        lines.append(f"| `{row.case}` | {difference} | {allowed} | {', '.join(row.compared)}{failed} |")
    return "\n".join(lines)


def write_table(path: Path, content: str) -> None:
    """Put ``content`` between the two marks in a document. Raises `ModelError` where they are not there."""
    try:
        before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
        _, end, after = rest.partition(END)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error}; give a document with the marks of the table") from error
    if not end:
        raise ModelError(f"{path} has no lines {BEGIN!r} and {END!r}; add them where the table belongs")
    path.write_text(f"{before}{BEGIN}\n{content}\n{END}{after}", encoding="utf-8")
