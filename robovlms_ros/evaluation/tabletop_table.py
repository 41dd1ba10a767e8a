"""The table in docs/tabletop.md: what is measured of a model on the tabletop, and how it is written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from robovlms_ros.evaluation.errors import EvaluationError
from robovlms_ros.evaluation.tabletop import Condition, Model, Row, runner_of

BEGIN, END = "<!-- evaluation: begin -->", "<!-- evaluation: end -->"
Tell = Callable[[str, int, int], None]
"""Called with what is done now, and how many episodes of how many are done."""

CONDITIONS: Mapping[str, Condition] = {
    **{
        f"{family}, executing {count} of the chunk": Condition(family, count)
        for family in ("pick", "stack")
        for count in (1, 3, 5)
    },
    **{
        f"pick, acting while the model works for {1e3 * delay:.0f} ms": Condition(delay=delay)
        for delay in (0.0, 0.1, 0.3)
    },
    "pick, told another colour: takes that one": Condition(told="another task"),
    "pick, told no colour: takes the seed's": Condition(told="no colour"),
    "stack, told other colours: stacks those": Condition("stack", told="another task"),
    "pick, action history off": Condition(history="off"),
    "pick, action history shuffled": Condition(history="shuffled"),
    "pick, sentences that it never read": Condition(wording="held_out"),
    "stack, sentences that it never read": Condition("stack", wording="held_out"),
}
# What every policy head is tried with.
OF_A_HEAD: Mapping[str, Condition] = {"pick": Condition(), "stack": Condition("stack")}


def table_rows(
    model: Model, heads: Mapping[str, Model], seeds: Sequence[int], workers: int, tell: Tell = lambda *_: None
) -> list[Row]:
    """Run all conditions of ``model`` and, for a row each, the models of ``heads``."""
    total = len(seeds) * (len(CONDITIONS) + len(OF_A_HEAD) * len(heads))
    rows: list[Row] = []

    def run(of: Model, conditions: Mapping[str, Condition], prefix: str = "") -> None:
        with runner_of(of, workers) as outcomes:
            for name, condition in conditions.items():
                found = []
                for outcome in outcomes(condition, seeds):
                    found.append(outcome)
                    tell(prefix + name, len(seeds) * len(rows) + len(found), total)
                rows.append(Row(prefix + name, condition, found))

    run(model, CONDITIONS)
    for name, of in heads.items():
        run(of, OF_A_HEAD, f"{name}, ")
    return rows


def as_markdown(rows: Sequence[Row]) -> str:
    """A Markdown table of ``rows``; intervals are Wilson's of 95 %."""
    lines = ["| condition | success | 95 % interval | steps |", "|---|---|---|---|"]
    for row in rows:
        low, high = row.success.interval
        rate = f"{row.success.successes}/{row.success.attempts}"
        steps = f"{row.steps:.1f}" if row.success.successes else "-"
        lines.append(f"| {row.name} | {rate} | {low:.0%} to {high:.0%} | {steps} |")
    return "\n".join(lines)


def put_table(path: Path, table: str) -> None:
    """Replace what is between the marks of a Markdown file. Raises `EvaluationError` where it has none."""
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise EvaluationError(f"{path} has no place for the table: put the lines {BEGIN} and {END} into it")
    path.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")
