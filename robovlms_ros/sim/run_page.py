"""A run on the tabletop to look at: one HTML page that needs no network, and one animation of all episodes."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robovlms_ros.policy.types import Observation
from robovlms_ros.sim.animation import panel, write_gif
from robovlms_ros.sim.run_record import EpisodeRecord, RunRecord
from robovlms_ros.sim.scene import BLOCK_RGB, FINGER_TRAVEL, STEP_DURATION

# Sides of the images in pixels: in the animation of all episodes, in that of one, and in a film strip.
FILM_SIZE, CARD_SIZE, STRIP_SIZE = 288, 192, 96
STRIP_FRAMES = 8
CAMERA_NAMES = {"static": "camera in front", "hand": "camera on the wrist"}

_STYLE = """
:root{--ink:#1d2129;--soft:#667085;--line:#e3e6eb;--paper:#fff;--ground:#f5f6f8;--good:#177245;--bad:#b3261e;
--curve:#30638e;--grip:#d98324}
@media(prefers-color-scheme:dark){:root{--ink:#e8eaee;--soft:#9aa3b2;--line:#333a45;--paper:#20252d;--ground:#161a20;
--good:#4cc38a;--bad:#ff8a80;--curve:#7fb3dd;--grip:#f0b267}}
*{box-sizing:border-box}body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--ground);margin:0}
main{max-width:1160px;margin:0 auto;padding:32px 20px 64px}h1{font-size:26px;margin:0 0 4px}
h2{font-size:18px;margin:40px 0 12px}p{margin:0 0 8px}.soft{color:var(--soft)}
.figures{display:flex;flex-wrap:wrap;gap:12px;margin:24px 0}
.figure,article,table{background:var(--paper);border:1px solid var(--line);border-radius:10px}
.figure{padding:14px 20px;min-width:150px}.figure b{display:block;font-size:26px;line-height:1.2}
.figure.good b{color:var(--good)}.figure.bad b{color:var(--bad)}
.dots{display:flex;gap:6px;margin-top:6px}.dots a{width:14px;height:14px;border-radius:4px;background:var(--good)}
.dots a.bad{background:var(--bad)}
article{padding:16px;margin:0 0 14px;display:grid;grid-template-columns:388px 1fr;gap:20px}
article>div{min-width:0}
@media(max-width:820px){article{grid-template-columns:1fr}}
article img{display:block;border-radius:6px;max-width:100%}.strip{margin-top:12px;width:100%}
.said{font-size:18px;font-weight:600;margin:0 0 4px}
.badge{display:inline-block;border-radius:99px;padding:1px 10px;font-size:13px;
font-weight:600;color:#fff;background:var(--good)}.badge.bad{background:var(--bad)}
.chip{padding:0 6px;border-radius:5px;color:#fff}
dl{display:flex;flex-wrap:wrap;gap:4px 26px;margin:10px 0}dt{color:var(--soft);font-size:13px}dd{margin:0}
svg{width:100%;height:74px;display:block}.legend{font-size:12px;color:var(--soft)}
.legend i{display:inline-block;width:12px;height:3px;vertical-align:middle;margin:0 5px 0 12px}
table{border-spacing:0;width:100%}
th,td{text-align:left;padding:6px 14px;border-bottom:1px solid var(--line);vertical-align:top}
td{overflow-wrap:anywhere}
th{font-weight:500;color:var(--soft);width:230px}tr:last-child>*{border:0}code{font-size:13px}
"""


def write_film(path: Path, record: RunRecord) -> None:
    """All episodes, one after another, both cameras, as an endless GIF."""
    frames: list[NDArray[np.uint8]] = []
    for episode in record.episodes:
        shown = _panels(episode, FILM_SIZE, f"{episode.number + 1}: {episode.instruction}")
        # One sees how it ended.
        ending = _panels(episode, FILM_SIZE, f"{episode.number + 1}: {episode.instruction}: {_outcome(episode)}")
        frames += shown + ending[-1:] * 15
    if frames:
        write_gif(path, frames)


def write_page(path: Path, record: RunRecord) -> None:
    """The page. Images are inside it, so it may be sent to somebody as it is."""
    count, successes = len(record.episodes), record.successes
    good = "good" if count and successes >= 0.8 * count else "bad"
    seconds = sum(episode.seconds for episode in record.episodes)
    steps = [episode.steps for episode in record.episodes if episode.succeeded]
    dots = "".join(
        f"<a href='#e{each.number}' class={'good' if each.succeeded else 'bad'} "
        f"title='{_escaped(each.instruction)}'></a>"
        for each in record.episodes
    )
    figures = [
        f"<div class='figure {good}'><b>{successes}/{count}</b>episodes succeeded"
        f"<div class=dots>{dots}</div></div>",
        _figure(f"{record.latency * 1e3:.0f} ms", "from an image to its command, median"),
        _figure(f"{np.mean(steps):.1f}" if steps else "none", "steps to success, mean"),
        _figure(f"{seconds:.0f} s", "for all episodes"),
    ]
    body = [
        "<h1>A robot that does what it is told</h1>",
        "<p class=soft>A simulated arm, a vision-language-action model and the ROS 2 graph between them: camera "
        "images and an instruction in, arm commands out. What you see is what the model saw.</p>",
        f"<div class=figures>{''.join(figures)}</div>",
        "<h2>Episodes</h2>",
        *(_article(episode) for episode in record.episodes),
        "<h2>How it was run</h2>",
        _table(record.facts),
        "<h2>Model card</h2>",
        _table(record.card),
    ]
    path.write_text(
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>robovlms_ros: {_escaped(record.summary())}</title><style>{_STYLE}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>",
        encoding="utf-8",
    )


def _article(episode: EpisodeRecord) -> str:
    facts: list[tuple[str, object]] = [
        ("seed", episode.seed),
        ("steps", episode.steps),
        ("took", f"{episode.seconds:.1f} s"),
        ("latency p50", f"{episode.latency * 1e3:.0f} ms"),
    ]
    listed = "".join(f"<div><dt>{name}</dt><dd>{_escaped(value)}</dd></div>" for name, value in facts)
    badge = f"<span class='badge{'' if episode.succeeded else ' bad'}'>{_escaped(_outcome(episode))}</span>"
    film = ""
    if episode.frames:
        cameras = " and ".join(CAMERA_NAMES[name] for name in CAMERA_NAMES if name in episode.frames[0])
        film = f"<img alt='{_escaped(cameras)}' src='{_animation(episode)}'>"
    said = f"<p class=said>{_said(episode.instruction)}</p>{badge}<dl>{listed}</dl>"
    return (
        f"<article id=e{episode.number}><div>{film}</div>"
        f"<div>{said}{_curves(episode)}{_strip(episode)}</div></article>"
    )


def _outcome(episode: EpisodeRecord) -> str:
    if episode.succeeded:
        return "done"
    return f"not done: {episode.why}" if episode.why else "not done"


def _said(instruction: str) -> str:
    """The instruction with the names of colours in their colours."""
    text = _escaped(instruction)
    for colour, rgb in BLOCK_RGB.items():
        red, green, blue = (round(255 * part) for part in rgb)
        chip = f"<span class=chip style='background:rgb({red},{green},{blue})'>{colour}</span>"
        text = re.sub(rf"\b{colour}\b", chip, text)
    return f"\u201c{text}\u201d"


def _panels(episode: EpisodeRecord, size: int, caption: str) -> list[NDArray[np.uint8]]:
    return [panel(Observation(frame, caption), size) for frame in episode.frames]


def _animation(episode: EpisodeRecord) -> str:
    frames = [
        panel(Observation(frame, f"step {index} of {episode.steps}"), CARD_SIZE)
        for index, frame in enumerate(episode.frames)
    ]
    buffer = io.BytesIO()
    write_gif(buffer, frames)
    return f"data:image/gif;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _strip(episode: EpisodeRecord) -> str:
    """Some frames of the camera in front, from the first to the last."""
    views = [frame["static"] for frame in episode.frames if "static" in frame]
    if not views:
        return ""
    chosen = [views[round(index)] for index in np.linspace(0, len(views) - 1, min(STRIP_FRAMES, len(views)))]
    scaled = [Image.fromarray(view).resize((STRIP_SIZE, STRIP_SIZE), Image.Resampling.LANCZOS) for view in chosen]
    sheet = Image.new("RGB", (len(scaled) * (STRIP_SIZE + 2) - 2, STRIP_SIZE), (255, 255, 255))
    for index, view in enumerate(scaled):
        sheet.paste(view, (index * (STRIP_SIZE + 2), 0))
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=88)
    source = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return f"<img class=strip alt='from the first image to the last' src='{source}'>"


def _curves(episode: EpisodeRecord) -> str:
    """Height of the tool and opening of the gripper over the episode."""
    if len(episode.heights) < 2:
        return ""
    curves = (("height of the tool", episode.heights, 0.28, "curve"), ("opening", episode.openings, 1.0, "grip"))
    lines = "".join(
        f"<polyline fill=none stroke='var(--{colour})' stroke-width=2 vector-effect=non-scaling-stroke "
        f"points='{_points(values, top)}'/>"
        for _, values, top, colour in curves
    )
    legend = "".join(f"<i style='background:var(--{colour})'></i>{name}" for name, _, _, colour in curves)
    last = (len(episode.heights) - 1) * STEP_DURATION
    return (
        f"<svg viewBox='0 0 100 100' preserveAspectRatio=none>{lines}</svg>"
        f"<p class=legend>over {last:.1f} s of the robot's time{legend}</p>"
    )


def _points(values: Sequence[float], top: float) -> str:
    last = max(len(values) - 1, 1)
    places = (
        (100 * index / last, 96 - 92 * min(max(value / top, 0.0), 1.0)) for index, value in enumerate(values)
    )
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def opening_of(finger: float) -> float:
    """How far the gripper is open, 0 to 1, with its joint at ``finger`` metres."""
    return min(max(finger / FINGER_TRAVEL, 0.0), 1.0)


def _figure(value: str, meaning: str) -> str:
    return f"<div class=figure><b>{_escaped(value)}</b>{_escaped(meaning)}</div>"


def _table(values: Mapping[str, object]) -> str:
    rows = "".join(f"<tr><th>{_escaped(name)}</th><td>{_shown(value)}</td></tr>" for name, value in values.items())
    return f"<table>{rows}</table>"


def _shown(value: object) -> str:
    if isinstance(value, dict | list):
        return f"<code>{_escaped(json.dumps(value))}</code>"
    return _escaped(value)


def _escaped(value: object) -> str:
    return html.escape(str(value), quote=True)
