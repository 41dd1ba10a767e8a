"""What a benchmark found: tables that are printed, written into a document, and kept as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Cell = str | float | int | None


@dataclass(frozen=True)
class Table:
    """One table. ``problems`` say what makes it a failure: results that differ, targets that were missed."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        wrong = [row for row in self.rows if len(row) != len(self.columns)]
        if wrong:
            raise ValueError(f"{self.title}: {len(self.columns)} columns, but a row is {wrong[0]}")

    def as_json(self) -> dict[str, Any]:
        """Return it with full numbers; what is not finite becomes null."""
        rows = [dict(zip(self.columns, map(_finite, row), strict=True)) for row in self.rows]
        return {"title": self.title, "rows": rows, "notes": list(self.notes), "problems": list(self.problems)}

    def as_markdown(self) -> str:
        """Return it for a document."""
        lines = [f"**{self.title}**", ""]
        lines += [_line(self.columns), _line("---:" if number else "---" for number in self.numbers)]
        lines += [_line(map(shown, row)) for row in self.rows]
        lines += ["", *(f"- {note}" for note in self.notes)] if self.notes else []
        return "\n".join(lines)

    @property
    def numbers(self) -> list[bool]:
        """Whether each column holds numbers, which stand on the right."""
        return [
            any(isinstance(row[i], int | float) for row in self.rows)
            and not any(isinstance(row[i], str) for row in self.rows)
            for i in range(len(self.columns))
        ]


@dataclass(frozen=True)
class Figure:
    """One measured number. ``target`` is the most that it may be; None where there is none."""

    name: str
    value: float
    unit: str
    target: float | None = None

    @property
    def reached(self) -> bool:
        """Whether the target is met; a value that is not a number never meets one."""
        return self.target is None or self.value <= self.target


@dataclass(frozen=True)
class Section:
    """What one part of the benchmark found; why it could not run here (``skipped``), or broke off (``failed``)."""

    tables: tuple[Table, ...] = ()
    skipped: str | None = None
    failed: str | None = None
    seconds: float = 0.0
    others: float = 0.0
    """Cores that other processes kept busy meanwhile."""
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """What is wrong: with its tables, or with all of it."""
        found = [f"{table.title}: {problem}" for table in self.tables for problem in table.problems]
        return [*found, self.failed] if self.failed else found

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` keeps of it."""
        if self.skipped or self.failed:
            return {"skipped": self.skipped} if self.skipped else {"failed": self.failed}
        return {
            "settings": self.settings,
            "seconds": round(self.seconds, 1),
            "cores_used_by_others": round(self.others, 2),
            "tables": [table.as_json() for table in self.tables],
        }


def figure_table(title: str, figures: Sequence[Figure], notes: Sequence[str] = ()) -> Table:
    """Return figures beside their targets."""
    rows = []
    for figure in figures:
        verdict = "" if figure.target is None else "ok" if figure.reached else "MISSED"
        target = "" if figure.target is None else f"<= {shown(figure.target)} {figure.unit}".strip()
        rows.append((figure.name, figure.value, figure.unit, target, verdict))
    missed = [
        f"{figure.name} is {shown(figure.value)} {figure.unit}, target {shown(figure.target)}"
        for figure in figures
        if not figure.reached
    ]
    return Table(title, ("figure", "measured", "unit", "target", " "), tuple(rows), tuple(notes), tuple(missed))


def shown(cell: Cell) -> str:
    """Return a cell as people read it: four digits of a number at most, unless it is a count."""
    if cell is None:
        return "-"
    if isinstance(cell, float):
        if cell and (abs(cell) < 1e-3 or abs(cell) >= 1e6):
            return f"{cell:.1e}"
        return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.4g}" if abs(cell) >= 100 else f"{cell:.3g}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def _finite(cell: Cell) -> Cell:
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell


def _line(cells: Any) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
