"""Writes the page: template, style and script of this folder around the numbers and pictures of a replay."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.replay.comparison import Comparison, against_recorded
from robovlms_ros.replay.errors import ReplayError
from robovlms_ros.replay.report import sections
from robovlms_ros.replay.report.content import script_data
from robovlms_ros.replay.report.pictures import pictures
from robovlms_ros.replay.result import ImageReference, ReplayResult

PICTURES = 150
MOST_BYTES = 15_000_000


def write_report(
    path: Path,
    result: ReplayResult,
    images: Iterable[tuple[ImageReference, NDArray[np.uint8]]] = (),
    count: int = PICTURES,
    comparison: Comparison | None = None,
) -> None:
    """Write one HTML file that works offline.

    Args:
        path: where to write it.
        result: the replay.
        images: those of `pictures.needed`, as `robovlms_ros.replay.images.read_images` gives them.
        count: at most so many pictures, evenly spread; together they take at most 15 MB.
        comparison: what to show beside the predictions; None for the actions that the bag holds, if any.

    Raises `ReplayError` where it cannot be written.
    """
    text = page(result, images, count, comparison)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ReplayError(f"{path} cannot be written: {error.strerror or error}") from error


def page(
    result: ReplayResult,
    images: Iterable[tuple[ImageReference, NDArray[np.uint8]]] = (),
    count: int = PICTURES,
    comparison: Comparison | None = None,
) -> str:
    """The page that `write_report` writes.

    Instructions, names and whatever else the bag or the model card says are escaped, and the page's own policy
    (CSP) runs no script but ours and loads nothing from anywhere.
    """
    drawn = sorted(pictures(result, images, count, MOST_BYTES), key=lambda picture: picture.place)
    data = script_data(result) | {
        "pictures": [
            {"inference": picture.place, "uri": picture.uri, "width": picture.width, "height": picture.height}
            for picture in drawn
        ]
    }
    script, style = _asset("page.js"), _asset("page.css")
    model_id = str(result.model.card.get("model_id", "a model"))
    return Template(_asset("page.html")).substitute(
        script_digest=_digest(script),
        style=style,
        title=escape(f"Replay of {Path(result.bag.path).name} through {model_id}"),
        bag=escape(Path(result.bag.path).name),
        model=escape(model_id),
        badges=sections.badges(result),
        problems=sections.problems(result),
        agreement=sections.agreement(comparison or against_recorded(result)),
        latency=sections.latency(result),
        limits=sections.limits(result),
        drops=sections.drops(result),
        provenance=sections.provenance(result),
        data=_inert(data),
        script=script,
    )


def _inert(data: dict[str, Any]) -> str:
    """JSON that no HTML parser takes for the end of its element."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _digest(script: str) -> str:
    """What a Content-Security-Policy calls an inline script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _asset(name: str) -> str:
    return files("robovlms_ros.replay.report").joinpath(name).read_text(encoding="utf-8")
