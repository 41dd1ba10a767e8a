"""The parts of the page that need no script: tables, bars and histograms, every text escaped."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np

from robovlms_ros.replay.comparison import Comparison
from robovlms_ros.replay.report.content import DIMENSIONS, SCALES, UNITS
from robovlms_ros.replay.result import ACTING, ReplayResult

BINS = 24
# Stages of an inference, in their order; ``model`` is the sum of the last three.
STAGES = {
    "wait": "age of the images",
    "decode": "decode",
    "preprocess": "preprocess",
    "vision": "vision",
    "language": "language model",
    "head": "policy head",
    "model": "vision + language + head",
}
DROPS = (
    "dropped image",
    "overtaken image",
    "dropped state",
    "unreadable message",
    "refused instruction",
    "failure",
)


def badges(result: ReplayResult) -> str:
    """The line below the title: how much there is, and whether something is wrong."""
    limited = sum(action.saturated != 0 for action in result.actions)
    facts = [
        (f"{len(result.actions):,} actions", ""),
        (f"{len(result.inferences):,} inferences", ""),
        (f"{(result.bag.end_ns - result.bag.start_ns) / 1e9:.1f} s of bag", ""),
        (f"{limited:,} limited", "warm" if limited else ""),
        (
            _problems(len(result.problems)),
            "bad" if result.problems else "good",
        ),
    ]
    if result.model.card.get("untrained"):
        facts.append(("untrained: actions mean nothing", "bad"))
    return "".join(f'<li class="{kind}">{escape(text)}</li>' for text, kind in facts)


def _problems(count: int) -> str:
    return f"{count:,} problem{'s' * (count > 1)}" if count else "no problems"


def problems(result: ReplayResult) -> str:
    """What was wrong, and what is odd; empty where nothing was."""
    parts = []
    notices: Sequence[str] = getattr(result, "notices", ())
    for title, texts, kind in (("Problems", result.problems, "bad"), ("Notices", notices, "warm")):
        if texts:
            lines = "".join(f"<li>{escape(text)}</li>" for text in texts)
            parts.append(f'<section class="card wide {kind}"><h2>{title}</h2><ul>{lines}</ul></section>')
    return "".join(parts)


def agreement(comparison: Comparison | None) -> str:
    """The replay against what was recorded."""
    if comparison is None:
        return _card("Against the recording", "<p class=quiet>The bag holds no recorded actions.</p>")
    rows = []
    for i in range(6):
        values = (comparison.mean[i], comparison.p95[i], comparison.most[i])
        rows.append((DIMENSIONS[i], *(_number(float(value) * SCALES[i], UNITS[i]) for value in values)))
    gripper = "-" if math.isnan(comparison.gripper) else f"{comparison.gripper:.1%}"
    facts = [
        ("both have", f"{comparison.matched:,} actions"),
        ("only recorded, only replayed", f"{comparison.missing:,}, {comparison.extra:,}"),
        ("gripper agrees in", gripper),
    ]
    if comparison.first is not None:
        facts.append(("first difference", f"action {comparison.first.index}: {comparison.first.what}"))
    if comparison.latency is not None:
        p50, p95 = comparison.latency
        facts.append(("latency when recorded", f"p50 {p50 * 1e3:.1f} ms, p95 {p95 * 1e3:.1f} ms"))
    notes = "".join(f"<p class=quiet>{escape(note)}</p>" for note in comparison.notes)
    title = f"Against {comparison.reference}"
    return _card(title, _table(("", "mean error", "95 % below", "largest"), rows) + _facts(facts) + notes)


def latency(result: ReplayResult) -> str:
    """A histogram for every stage, on one scale, of the inferences that ran the model."""
    ran = [inference.timings for inference in result.inferences if inference.fresh]
    stages = {name: [t[name] * 1e3 for t in ran if name in t] for name in STAGES}
    stages = {name: values for name, values in stages.items() if values and max(values) > 0}
    if not stages:
        return _card("Time per stage", "<p class=quiet>No inference was timed.</p>")
    smallest = min(min(value for value in values if value > 0) for values in stages.values())
    largest = max(max(values) for values in stages.values())
    edges = np.geomspace(max(smallest, 1e-3) * 0.95, largest * 1.05, BINS + 1)
    rows = "".join(_histogram(STAGES[name], values, edges) for name, values in stages.items())
    axis = f"<span>{_milliseconds(edges[0])}</span><span>logarithmic</span><span>{_milliseconds(edges[-1])}</span>"
    where = escape(", ".join(f"{key} {value}" for key, value in result.machine.items()))
    said = f"Measured in this replay, on {where or 'this machine'}. The age of the images is the bag's."
    note = f"<p class=quiet>{said}</p>"
    return _card(
        "Time per stage",
        f'<div class=stages>{rows}<div class="axis stage"><i></i><div>{axis}</div></div></div>{note}',
    )


def limits(result: ReplayResult) -> str:
    """How often each dimension was limited."""
    moving = [action for action in result.actions if not action.stop]
    counts = [sum(bool(action.saturated >> i & 1) for action in moving) for i in range(len(DIMENSIONS))]
    bars = "".join(
        f"<div class=bar><span>{escape(name)}</span><i>"
        f'<b style="width:{100 * count / max(1, len(moving)):.2f}%"></b></i><span>{count:,}</span></div>'
        for name, count in zip(DIMENSIONS, counts, strict=True)
    )
    bounds = [
        f"{name} {_number(value * SCALES[place], UNITS[place])}"
        for name, value in result.model.limits.items()
        for place in [3 * (name == "rotation")]
    ]
    said = f"Limits of one action: {', '.join(bounds)}." if bounds else "The model's profile has no limits."
    note = f"<p class=quiet>{escape(said)} Of {len(moving):,} actions that move.</p>"
    return _card("Limits hit", bars + note)


def drops(result: ReplayResult) -> str:
    """What did not become an action, and why."""
    kinds = Counter(event.kind for event in result.events)
    rows = [(kind, f"{kinds[kind]:,}") for kind in DROPS if kinds[kind]]
    reasons = Counter(
        (event.kind, event.detail or event.topic)
        for event in result.events
        if event.kind in DROPS and event.detail
    )
    rows += [(f"of these {kind}: {detail}", f"{count:,}") for (kind, detail), count in reasons.most_common(8)]
    outcomes = Counter(inference.outcome for inference in result.inferences if inference.outcome != ACTING)
    rows += [(f"inference: {outcome}", f"{count:,}") for outcome, count in outcomes.most_common(8)]
    rows += [(f"counted: {name}", f"{count:,}") for name, count in sorted(result.counts.items()) if count]
    rows += [(f"held: {name}", f"{count:,}") for name, count in sorted(result.holds.items()) if count]
    body = _table(("what", "times"), rows) if rows else "<p class=quiet>Every image was answered.</p>"
    return _card("Dropped, and held back", body)


def provenance(result: ReplayResult) -> str:
    """What ran on what: everything that is needed to run it again."""
    bag, model, options = result.bag, result.model, result.options
    ran: list[tuple[str, object]] = [
        ("created", result.created),
        ("took", f"{result.seconds:.1f} s"),
        ("actions' SHA-256", result.digest),
        *result.machine.items(),
        *result.versions.items(),
    ]
    played: list[tuple[str, object]] = [
        ("path", bag.path),
        ("files", ", ".join(bag.files)),
        ("SHA-256 of its messages", bag.digest),
        ("complete", "yes" if bag.complete else "NO: a part could not be read"),
        *((topic.name, f"{topic.messages:,} x {topic.type}") for topic in bag.topics),
    ]
    by: list[tuple[str, object]] = [
        *((f"{role} is", topic) for role, topic in options.topics.items()),
        ("recorded actions", options.action_topic or "none"),
        ("instruction", "the bag's" if options.instruction is None else options.instruction),
        ("an inference takes", f"{options.inference_time:g} s of the bag's time"),
        (
            "part",
            f"from {options.start:g} s, " + (f"{options.duration:g} s" if options.duration else "to the end"),
        ),
    ]
    card = [(key, value if isinstance(value, str) else json.dumps(value)) for key, value in model.card.items()]
    differences = "".join(f"<li>{escape(text)}</li>" for text in model.differences)
    differs = (
        f'<p class="bad">Differs from the model that was recorded:</p><ul>{differences}</ul>'
        if differences
        else ""
    )
    parameters = _facts((key, json.dumps(value)) for key, value in sorted(options.parameters.items()))
    return "".join(
        [
            _card("What ran", _facts(ran)),
            _card("Model card", differs + _facts([("folder", model.path), ("frame", model.frame), *card])),
            _card("Bag", _facts(played)),
            _card(
                "Replayed with", _facts(by) + f"<details><summary>all parameters</summary>{parameters}</details>"
            ),
        ]
    )


def _histogram(label: str, values: Sequence[float], edges: Any) -> str:
    counts, _ = np.histogram(values, edges)
    p50, p95 = np.percentile(values, [50, 95])
    width, height, most = 100 / len(counts), 26.0, max(1, int(counts.max()))
    bars = "".join(
        f'<rect x="{i * width:.2f}" y="{height - height * count / most:.2f}" width="{width * 0.9:.2f}" '
        f'height="{height * count / most:.2f}"/>'
        for i, count in enumerate(counts.tolist())
        if count
    )
    where = 100 * float(np.clip(np.log(p50 / edges[0]) / np.log(edges[-1] / edges[0]), 0, 1)) if p50 > 0 else 0.0
    line = f'<line x1="{where:.2f}" x2="{where:.2f}" y1="0" y2="{height}"/>'
    svg = f'<svg viewBox="0 0 100 {height:g}" preserveAspectRatio="none" aria-hidden="true">{bars}{line}</svg>'
    said = f"p50 {_milliseconds(p50)}, p95 {_milliseconds(p95)}, largest {_milliseconds(max(values))}"
    return f"<div class=stage><i>{escape(label)}</i><div>{svg}<small>{said}</small></div></div>"


def _milliseconds(value: float) -> str:
    return f"{value:.3g} ms" if value < 100 else f"{value:,.0f} ms"


def _number(value: float, unit: str) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.3g} {unit}".strip()


def _card(title: str, body: str) -> str:
    return f"<section class=card><h2>{escape(title)}</h2>{body}</section>"


def _facts(rows: Iterable[tuple[str, object]]) -> str:
    cells = "".join(
        f"<dt>{escape(str(key))}</dt><dd>{escape(str(value))}</dd>" for key, value in rows if value != ""
    )
    return f"<dl>{cells}</dl>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>"
