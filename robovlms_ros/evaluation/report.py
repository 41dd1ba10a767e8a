"""An offline evaluation to look at: one HTML file that needs no network, and the same numbers as JSON."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robovlms_ros.evaluation.offline import DIMENSIONS, Comparison, Summary

MILLI = 1e3
UNITS = ("mm",) * 3 + ("mrad",) * 3
# Episodes whose actions are drawn over time: those with the largest errors and the smallest, as far as there are.
DRAWN = 6
PREDICTED, RECORDED, STILL = "#d1495b", "#30638e", "#c8c8c8"


def as_json(summary: Summary) -> dict[str, Any]:
    """The summary as plain numbers: metres and radians."""
    return {
        "episodes": summary.episodes,
        "steps": summary.steps,
        "dimensions": {
            name: {
                "mean_error": float(summary.mean_error[i]),
                "p95_error": float(summary.p95_error[i]),
                "still_error": float(summary.still_error[i]),
            }
            for i, name in enumerate(DIMENSIONS)
        },
        "gripper_accuracy": summary.gripper_accuracy,
        "by_horizon": {
            "translation_error": summary.translation_by_horizon.tolist(),
            "rotation_error": summary.rotation_by_horizon.tolist(),
            "gripper_accuracy": summary.gripper_by_horizon.tolist(),
        },
    }


def write_html(
    path: Path, title: str, facts: Mapping[str, object], summary: Summary, comparisons: Sequence[Comparison]
) -> None:
    """Write the report; ``facts`` is what was evaluated on what. Needs plotly, of the extra ``train``."""
    figures = [_errors(summary), _horizon(summary), *(_episode(each) for each in _worth_a_look(comparisons))]
    parts = [
        figure.to_html(full_html=False, include_plotlyjs="inline" if number == 0 else False)
        for number, figure in enumerate(figures)
    ]
    rows = "".join(
        f"<tr><th>{html.escape(str(key))}</th><td>{html.escape(str(value))}</td></tr>"
        for key, value in facts.items()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{html.escape(title)}</title>"
        "<style>body{font:15px system-ui,sans-serif;max-width:1100px;margin:2em auto;color:#222}"
        "th{text-align:left;padding-right:2em;vertical-align:top;font-weight:500;color:#666}</style></head><body>"
        f"<h1>{html.escape(title)}</h1><table>{rows}</table>{''.join(parts)}</body></html>",
        encoding="utf-8",
    )


def _errors(summary: Summary) -> Any:
    from plotly import graph_objects

    labels = [f"{name} ({unit})" for name, unit in zip(DIMENSIONS, UNITS, strict=True)]
    figure = graph_objects.Figure(
        [
            graph_objects.Bar(name="mean error", x=labels, y=summary.mean_error * MILLI, marker_color=PREDICTED),
            graph_objects.Bar(name="95 % below", x=labels, y=summary.p95_error * MILLI, marker_color=RECORDED),
            graph_objects.Bar(name="never moving", x=labels, y=summary.still_error * MILLI, marker_color=STILL),
        ]
    )
    accuracy = f"gripper right in {summary.gripper_accuracy:.1%} of the steps"
    return figure.update_layout(title=f"Error of the executed action; {accuracy}", template="plotly_white")


def _horizon(summary: Summary) -> Any:
    from plotly import graph_objects
    from plotly.subplots import make_subplots

    steps = np.arange(len(summary.translation_by_horizon))
    figure = make_subplots(specs=[[{"secondary_y": True}]])
    for name, values, colour in (
        ("translation (mm)", summary.translation_by_horizon * MILLI, PREDICTED),
        ("rotation (mrad)", summary.rotation_by_horizon * MILLI, RECORDED),
    ):
        figure.add_trace(graph_objects.Scatter(name=name, x=steps, y=values, line_color=colour))
    gripper = graph_objects.Scatter(
        name="gripper right (%)",
        x=steps,
        y=summary.gripper_by_horizon * 100,
        line={"color": "#777", "dash": "dot"},
    )
    figure.add_trace(gripper, secondary_y=True)
    figure.update_yaxes(rangemode="tozero", secondary_y=False)
    figure.update_yaxes(range=[0, 101], dtick=25, secondary_y=True)
    return figure.update_layout(
        title="Error further into the action chunk", xaxis_title="row of the chunk", template="plotly_white"
    )


def _episode(comparison: Comparison) -> Any:
    from plotly import graph_objects
    from plotly.subplots import make_subplots

    names = [f"{name} ({unit})" for name, unit in zip(DIMENSIONS, UNITS, strict=True)] + ["gripper opening"]
    figure = make_subplots(rows=2, cols=4, subplot_titles=names)
    for i in range(7):
        scale = MILLI if i < 6 else 1.0
        for name, values, colour in (
            ("recorded", comparison.recorded, RECORDED),
            ("predicted", comparison.predicted, PREDICTED),
        ):
            line = graph_objects.Scatter(
                name=name, y=values[:, 0, i] * scale, line_color=colour, showlegend=i == 0, legendgroup=name
            )
            figure.add_trace(line, row=i // 4 + 1, col=i % 4 + 1)
    title = html.escape(f"{comparison.identifier}: {comparison.instruction}")
    return figure.update_layout(title=title, height=460, template="plotly_white")


def _worth_a_look(comparisons: Sequence[Comparison]) -> Sequence[Comparison]:
    """The best and the worst, best first."""
    ranked = sorted(comparisons, key=lambda each: float(np.nanmean(np.abs(each.errors[:, 0]))))
    return ranked if len(ranked) <= DRAWN else [*ranked[: DRAWN // 2], *ranked[-DRAWN // 2 :]]
