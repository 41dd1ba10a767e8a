"""Tables about replays."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from robovlms_ros.replay.comparison import Comparison
    from robovlms_ros.replay.result import ReplayResult

NANOSECONDS = 1e9
MILLI = 1e3
# Reasons for having no action that are shown, the most frequent first.
SHOWN_REASONS = 6


def summary_table(result: ReplayResult) -> Table:
    """What was replayed, with what, and what came of it."""
    import numpy as np

    table = Table(title=f"replay of {escape(result.bag.path)}", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")

    def row(name: str, text: str) -> None:
        table.add_row(name, escape(text))

    length = (result.bag.end_ns - result.bag.start_ns) / NANOSECONDS
    row("model", str(result.model.card.get("model_id", "")))
    row("bag", f"{length:.1f} s, {', '.join(result.bag.files)}")
    for role, topic in result.options.topics.items():
        row(role, topic)
    stops = sum(action.stop for action in result.actions)
    episodes = len({action.episode for action in result.actions})
    row(
        "actions",
        f"{len(result.actions) - stops} and {stops} stops in {episodes} episodes, from {len(result.inferences)} "
        "inferences",
    )
    limited = [action for action in result.actions if action.saturated]
    if limited:
        names = ("x", "y", "z", "rx", "ry", "rz", "gripper")
        per = [f"{name} {n}" for i, name in enumerate(names) if (n := sum(a.saturated >> i & 1 for a in limited))]
        row("limited", f"{len(limited)} actions ({', '.join(per)})")
    reasons = Counter(result.counts)
    if reasons:
        row("not used", ", ".join(f"{reason} {count}" for reason, count in reasons.most_common(SHOWN_REASONS)))
    stages: dict[str, list[float]] = {}
    for inference in result.inferences:
        for stage, seconds in inference.timings.items():
            if stage != "wait":
                stages.setdefault(stage, []).append(seconds * MILLI)
    if stages:
        texts = []
        for stage, values in stages.items():
            p50, p95 = np.percentile(values, [50, 95])
            texts.append(f"{stage} {p50:.1f} {p95:.1f}")
        row("ms (p50, p95)", ", ".join(texts))
    row("took", f"{result.seconds:.1f} s")
    row("digest", result.digest[:16])
    return table


def print_problems(console: Console, result: ReplayResult) -> None:
    """What was wrong, then what was odd."""
    for text in result.problems:
        console.print(f"[red]problem:[/] {escape(text)}", highlight=False, soft_wrap=True)
    for text in result.notices:
        console.print(f"[yellow]note:[/] {escape(text)}", highlight=False, soft_wrap=True)


def comparison_table(compared: Comparison) -> Table:
    """How far the replayed actions are from others."""
    from robovlms_ros.replay.comparison import DIMENSIONS

    table = Table(title=f"against {escape(compared.reference)}", title_justify="left")
    for column in ("", "mean", "95 % below", "largest"):
        table.add_column(column, justify="right" if column else "left")
    for i, name in enumerate(DIMENSIONS):
        unit = "mm" if i < 3 else "mrad"
        numbers = (compared.mean[i], compared.p95[i], compared.most[i])
        table.add_row(f"{name} ({unit})", *("-" if math.isnan(n) else f"{n * MILLI:.4g}" for n in numbers))
    table.add_section()
    gripper = "-" if math.isnan(compared.gripper) else f"{compared.gripper:.1%}"
    table.add_row("gripper agrees", gripper)
    table.add_row("actions in both", str(compared.matched))
    table.add_row("missing, extra", f"{compared.missing}, {compared.extra}")
    table.add_row("differing", str(compared.differing))
    if compared.latency:
        table.add_row("recorded latency (ms)", *(f"{value * MILLI:.1f}" for value in compared.latency))
    if compared.inference_time:
        table.add_row("recorded inference (ms)", *(f"{value * MILLI:.1f}" for value in compared.inference_time))
    return table


def comparison_lines(compared: Comparison, result: ReplayResult) -> list[str]:
    """Where two sets of actions part, and what else is different about them."""
    lines = list(compared.notes)
    if compared.first is not None:
        at = (compared.first.stamp_ns - result.bag.start_ns) / NANOSECONDS
        lines.insert(0, f"first divergence: action {compared.first.index}, {at:.3f} s: {compared.first.what}")
    return lines
